// Liveness of the overview, and nothing else: the page works without it. Text is only ever put in as text.
"use strict";

(() => {
  const live = document.getElementById("live");
  if (!live) return;
  const rows = document.getElementById("live-rows");
  const state = document.getElementById("live-state");
  const pause = document.getElementById("live-pause");
  const ROWS_MAX = 20;
  const STATUS_MILLIS = 5_000;
  const RETRY_MILLIS = [1_000, 30_000];
  let paused = false;

  const tell = (text) => {
    if (state.textContent !== text) state.textContent = text;
  };

  // What steers, reorders or hides is written as what it is, as the server does.
  const HOSTILE =
    /[\0-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;
  const printable = (text) =>
    String(text).slice(0, 400).replace(HOSTILE, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);

  const what = (event) => {
    if (event.input !== undefined) return event.input;
    if (event.username !== undefined) return `${event.username} / ${event.password ?? ""}`;
    return event.url ?? event.filename ?? event.version ?? event.text ?? (typeof event.message === "string" ? event.message : "");
  };

  const cell = (row, text, code) => {
    const cell = row.insertCell();
    const inner = code ? cell.appendChild(document.createElement("bdi")).appendChild(document.createElement("code")) : cell;
    inner.textContent = printable(text);
    return cell;
  };

  const show = (message) => {
    let event = {};
    try {
      event = JSON.parse(message.line) ?? { eventid: "(too long)", message: "Too long to be sent along: the search has it." };
    } catch {
      event = { eventid: "(not JSON)", message: message.line };
    }
    const row = rows.insertRow(0);
    row.className = "new";
    cell(row, String(message.time ?? event.timestamp ?? "").slice(0, 19).replace("T", " ")).className = "nowrap";
    cell(row, event.sensor ?? "–").className = "name";
    cell(row, String(event.src_ip ?? "–").replaceAll(":", "[:]").replaceAll(".", "[.]"), true).className = "nowrap";
    cell(row, String(event.eventid ?? "(no eventid)").replace(/^cowrie\./, ""));
    cell(row, what(event), true).className = "what";
    const session = row.insertCell();
    session.className = "id";
    if (event.session !== undefined && event.session !== "") {
      const link = session.appendChild(document.createElement("a"));
      link.href = `/sessions/${encodeURIComponent(event.session)}`;
      link.appendChild(document.createElement("code")).textContent = printable(event.session);
    }
    while (rows.rows.length > ROWS_MAX) rows.deleteRow(-1);
    document.getElementById("live-none")?.remove();
  };

  // The stream's protocol is known here only. `each` gets events, `ended` is called once.
  const stream = (path, after, each, dropped, passed, began, ended) => {
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.onopen = () => {
      const ask = { type: "subscribe", id: "overview", query: "" };
      if (after !== undefined) ask.from = after + 1;
      socket.send(JSON.stringify(ask));
      began();
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "event") each(message);
      else if (message.type === "dropped") dropped(message);
      else if (message.type === "position") passed(message.next - 1);
      // Another journal, or events that are gone: from now on, then.
      else if (message.type === "error" && message.code === "bad_from") socket.send(JSON.stringify({ type: "subscribe", id: "overview", query: "" }));
    };
    socket.onclose = ended;
    return () => {
      socket.onclose = null;
      socket.close();
    };
  };

  let close;
  let retry;
  let millis = RETRY_MILLIS[0];
  let last;

  const connect = () => {
    const path = live.dataset.stream;
    if (!path || close || paused || document.hidden) return;
    close = stream(
      path,
      last,
      (message) => {
        last = message.seq ?? last;
        show(message);
      },
      ({ count, to }) => {
        last = to;
        tell(`Live; ${count} events came too fast to be shown.`);
      },
      (seq) => {
        last = seq;
      },
      () => {
        millis = RETRY_MILLIS[0];
        tell("Live: new events appear on top.");
        pause.hidden = false;
      },
      () => {
        close = undefined;
        tell("Not live: connecting again.");
        retry = setTimeout(connect, millis);
        millis = Math.min(millis * 2, RETRY_MILLIS[1]);
      },
    );
  };

  const disconnect = () => {
    clearTimeout(retry);
    close?.();
    close = undefined;
  };

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    if (paused) {
      disconnect();
      tell("Paused.");
    } else connect();
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  connect();

  // The state: the daemon draws it anew, and it takes the place of what was, unless somebody is at it.
  const said = document.getElementById("state-said");
  const inUse = (element) => {
    const selection = getSelection();
    return element.contains(document.activeElement) || (!selection.isCollapsed && element.contains(selection.anchorNode));
  };
  const renew = async () => {
    if (document.hidden || paused) return;
    try {
      const answer = await fetch(live.dataset.state, { cache: "no-store" });
      // Led to the form that logs in, or refused: the session has ended.
      if (answer.redirected || answer.status === 401 || answer.status === 403) tell("Not live: log in again.");
      if (answer.redirected || !answer.ok) return;
      const drawn = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const id of ["state-verdict", "state-flow"]) {
        const [now, before] = [drawn.getElementById(id), document.getElementById(id)];
        if (!now || !before || inUse(before)) continue;
        const words = (element) => element.querySelector(".words")?.textContent;
        if (words(now) !== words(before)) said.textContent = words(now);
        before.replaceChildren(...now.childNodes);
        if (now.dataset.title) document.title = `${now.dataset.title} · Honeyguide`;
      }
    } catch {
      // The daemon restarts, or is gone: what is shown stays, and the next try tells.
    }
  };
  if (live.dataset.state && said) setInterval(renew, STATUS_MILLIS);
})();
