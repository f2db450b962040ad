// What goes on: tasks, sessions, fault rules, the clock and the server, and the few things that can be done about them.

import { ask, at, duration, el, many, moment, number, show, time } from "/dom.js";

const SHOWN_TASKS = 6;

const EXAMPLES = [
  ["a call fails once", { method: "CreateSnapshot_Task", fault: "TaskInProgress", count: 1 }],
  ["a task fails at 60 %", { method: "CreateSnapshot_Task", where: "task", fault: "ApplicationQuiesceFault", progress: 60, nth: 1 }],
  ["a session ends in the middle", { method: "QueryChangedDiskAreas", nth: 2, effect: "expire_session" }],
  ["the server is overloaded", { method: "*", where: "http", status: 503, retry_after: 5, count: 3 }],
  ["a download is cut", { endpoint: "/folder", method: "GET", where: "body", cut_after: 65536, count: 1 }],
  ["a lease times out", { method: "HttpNfcLeaseProgress", where: "lease", lease: "timeout", progress: 50 }],
  ["a machine vanishes", { method: "QueryChangedDiskAreas", where: "inventory", nth: 2, action: { do: "vanish" } }],
];

let refresh;
let select;
let allTasks = false;

export function start(page) {
  ({ refresh, select } = page);
  const example = at("fault-example");
  example.append(el("option", { value: "" }, "examples …"), ...EXAMPLES.map(([name], index) => el("option", { value: index }, name)));
  example.onchange = () => {
    if (example.value !== "") at("fault-rule").value = JSON.stringify(EXAMPLES[example.value][1], null, 1).replace(/\n\s*/g, " ");
    example.value = "";
    at("fault-rule").focus();
  };
  at("fault-form").onsubmit = (event) => act(event, "fault-error", async () => {
    await ask("POST", "/v1/faults", at("fault-rule").value);
    at("fault-rule").value = "";
  });
  at("clock-form").onsubmit = (event) => act(event, "clock-error", () =>
    ask("POST", "/v1/clock/advance", { seconds: Number(at("clock-amount").value) * Number(at("clock-unit").value) }));
}

// Does something, and shows at once what has come of it, or what is wrong.
async function act(event, place, work) {
  event.preventDefault();
  const wrong = at(place);
  try {
    await work();
    wrong.textContent = "";
    await refresh();
  } catch (error) {
    wrong.textContent = error.message;
  }
}

const button = (text, focus, label, place, work) => el("button.small", {
  type: "button", "data-focus": focus, "aria-label": label, onclick: (event) => act(event, place, work),
}, text);

export function tasks({ tasks }, server) {
  const live = tasks.filter((task) => task.state === "running" || task.state === "queued");
  at("tasks-count").textContent = live.length ? `${live.length} running` : "";
  const rest = tasks.filter((task) => !live.includes(task));
  const shown = [...live, ...(allTasks ? rest : rest.slice(0, Math.max(0, SHOWN_TASKS - live.length)))];
  show(at("tasks"), [shown, tasks.length, allTasks, live.length ? server.clock.now : null], () => {
    if (!tasks.length) return el("p.note", null, "none yet");
    const more = tasks.length - shown.length;
    return [
      el("ul.tasks", null, shown.map(task)),
      (more > 0 || allTasks) && el("button.small", { type: "button", "data-focus": "all tasks", onclick: () => {
        allTasks = !allTasks;
        refresh();
      } }, allTasks ? "show fewer" : `show ${number(more)} more`),
    ];
  });
}

function task(task) {
  const took = task.completed && task.started ? (Date.parse(task.completed) - Date.parse(task.started)) / 1000 : null;
  const goes = task.state === "running" || task.state === "queued";
  const about = task.entity && (task.entity.startsWith("vm-") || /^\d+$/.test(task.entity))
    ? el("button.link", { type: "button", "data-focus": task.id, onclick: () => select(task.entity) }, task.entity_name ?? task.entity)
    : task.entity_name;
  const word = { success: "done", error: task.cancelled ? "cancelled" : "failed", running: `${task.progress ?? 0} %`, queued: "queued" }[task.state];
  return el(`li.${task.state}`, { "data-task": task.id },
    el("p", null, el("b", null, task.what), about && " ", about, el("span.state", null, word)),
    goes && el("progress", { max: 100, value: task.progress ?? 0, "aria-label": `${task.what}, ${task.progress ?? 0} %` }),
    task.error && el("p.error", null, el("span.mono", null, task.error.fault), `: ${task.error.message ?? ""}`),
    el("p.note", null, `${task.id} · ${time(task.queued)} · ${task.user ?? "the server"}${took === null ? "" : ` · ${took < 10 ? took.toFixed(2) : Math.round(took)} s`}`));
}

export function sessions({ sessions, timeout_seconds: timeout }) {
  at("sessions-count").textContent = sessions.length || "";
  show(at("sessions"), sessions, () => {
    if (!sessions.length) return el("p.note", null, "nobody is logged in");
    const users = new Set(sessions.map((session) => session.user));
    return [
      el("ul.sessions", null, sessions.map((session) => el("li", null,
        el("p", null, el("b", null, session.user), session.kind === "rest" && el("span.badge", null, "REST"),
          el("span.state", null, session.idle_seconds === undefined ? "" : session.idle_seconds < 2 ? "active" : `idle ${duration(session.idle_seconds)}`)),
        el("p.note", null, [session.address, session.agent, session.calls !== undefined && many(session.calls, "call"), `since ${time(session.login)}`]
          .filter(Boolean).join(" · "))))),
      el("div.row", null, [...users].slice(0, 5).map((user) =>
        button(`Expire ${user}`, `expire ${user}`, `Expire the sessions of ${user}`, "sessions-error", () => ask("POST", "/v1/sessions/expire", { user }))),
      users.size > 1 && button("Expire all", "expire all", "Expire all sessions", "sessions-error", () => ask("POST", "/v1/sessions/expire", {}))),
      el("p.note", null, `Idle sessions end after ${duration(timeout)} of the server’s clock.`),
    ];
  });
}

export function faults({ rules, vddk }) {
  at("faults-count").textContent = rules.length + vddk.length || "";
  show(at("faults"), [rules, vddk], () => {
    if (!rules.length && !vddk.length) return el("p.note", null, "none: nothing goes wrong on purpose");
    return [
      el("ul.rules", null, rules.map((state) => rule(state)), vddk.map((each) => el("li", null,
        el("p", null, el("b", null, each.function ?? "VDDK"), el("span.badge", null, "fake VDDK")), el("code", null, JSON.stringify(each))))),
      button("Take all back", "all rules", "Take all fault rules back", "fault-error", () => ask("DELETE", "/v1/faults")),
    ];
  });
}

function rule({ id, seen, hits, rule }) {
  const what = rule.fault ?? rule.effect ?? rule.mutate ?? rule.lease ?? rule.action?.do ?? (rule.status && `status ${rule.status}`)
    ?? (rule.delay_ms && `${rule.delay_ms} ms later`) ?? "closed";
  return el("li", { "data-rule": id },
    el("p", null, el("b", null, rule.method || "*"), ` ${rule.where} → `, el("b", null, what),
      el(`span.state${hits ? ".bad" : ""}`, { title: "calls that suffered, of those that matched" }, `${number(hits)} of ${many(seen, "call")}`)),
    el("code", null, JSON.stringify(rule)),
    button("Take back", `rule ${id}`, `Take rule ${id} back`, "fault-error", () => ask("DELETE", `/v1/faults/${id}`)));
}

export function server(server) {
  const clock = server.clock;
  show(at("clock"), clock, () => [el("b.mono", null, moment(clock.now)), " UTC, ", clock.stands ? "stands until it is moved" : "goes by itself"]);
  const facts = [
    ["API", server.url], ["SHA-1", server.sha1], ["SHA-256", server.sha256], ["Data", server.data],
    ["Answers", `${server.wire.prefix}, chunked ${server.wire.chunked}, gzip ${server.wire.gzip}`], ["Up", duration(server.uptime_seconds)],
  ];
  show(at("server"), facts, () => facts.map(([name, value]) => [el("dt", null, name), el("dd.mono", null, value)]));
}
