// Looks at every page as people do: with a real browser, at three widths, in light and dark, by keyboard, and without JavaScript.
// Arguments: address of the daemon, directory for screenshots, path of Chromium, JSON of what there is to see. Fails with what is wrong.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [base, screenshots, executablePath, seen] = process.argv.slice(2);
// `stranger`: the daemon as somebody finds it who is not known to it.
const { session, indicator, stranger } = JSON.parse(seen);

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
  reports: "/reports",
  report: "/reports?kind=daily&period=last",
  audit: "/audit",
  missing: "/sessions/nosuch",
};
const WIDTHS = [360, 768, 1440];

const browser = await chromium.launch({ executablePath, args: ARGS });

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
    assert.deepEqual(complaints, []);
    await context.close();
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
    await context.close();
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
