// The page reads /v1 and shows it. It writes nothing, and text is only ever set as text.

const EVERY = 2000; // milliseconds between two readings
const MOST_ENTRIES = 2000; // shown; the rest is for /v1/flows
const MOST_FUNCTIONS = 500;
const MOST_EVENTS = 200;
const MOST_WAITING = 4; // ports named at once; more are folded
const TABLES = {
  0: "who may send what",
  10: "the chain",
  15: "each client's own Xray",
  20: "functions of the mesh",
  30: "delivery to containers",
};

const at = (id) => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "label" || key === "key") made.dataset[key] = value;
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const mark = (word, look) => element("span", { className: `mark ${look}` }, word);
const code = (text) => element("code", {}, text);
const cell = (label, content, className = "") => element("td", { label, className }, content);

// Makes a node read like a new one by changing what differs: who is at it keeps focus and selection, and what is open
// stays open. Children are told apart by their data-key, or else by their place among those of their kind.
function become(there, wanted) {
  if (there.nodeType === Node.TEXT_NODE) {
    if (there.data !== wanted.data) there.data = wanted.data;
    return;
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (name !== "open" && there.getAttribute(name) !== value) there.setAttribute(name, value);
  }
  for (const { name } of [...there.attributes]) {
    if (name !== "open" && !wanted.hasAttribute(name)) there.removeAttribute(name);
  }
  showIn(there, [...wanted.childNodes]);
}

function showIn(place, wanted) {
  const kind = (node) => `${node.nodeName} ${node.dataset?.key ?? ""}`;
  const known = grouped([...place.childNodes], kind);
  const next = wanted.map((node) => {
    const same = known.get(kind(node))?.shift();
    if (same) become(same, node);
    return same ?? node;
  });
  for (const gone of [...known.values()].flat()) gone.remove();
  // What stays is not moved if its order is the same: an element that is moved loses the focus.
  let before = place.firstChild;
  for (const node of next) {
    if (node === before) before = before.nextSibling;
    else place.insertBefore(node, before);
  }
}

// --- numbers and times

const UNITS = ["", "k", "M", "G", "T"];
const NBSP = "\u00a0"; // a number stays with its unit

function short(value) {
  let step = 0;
  while (value >= 999.5 && step < UNITS.length - 1) {
    value /= 1000;
    step += 1;
  }
  const digits = step && value < 10 ? 1 : 0;
  return `${value.toFixed(digits)}${step ? NBSP + UNITS[step] : ""}`;
}

const plural = (count, one, several) => `${count} ${count === 1 ? one : several}`;
const packets = (value) => `${short(value)}${NBSP}${value === 1 ? "packet" : "packets"}`;
// short() gives a unit's first letter from 999.5 on.
const bytes = (value) => `${short(value)}${value >= 999.5 ? "B" : NBSP + "B"}`;
const bits = (rate) => (rate ? `${short(rate.bytes * 8)}${rate.bytes * 8 >= 999.5 ? "" : NBSP}bit/s` : "…");
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });

// The clock, with the date if that is not today.
function moment(seconds) {
  const then = new Date(seconds * 1000);
  const day = then.toDateString() === new Date().toDateString() ? "" : `${then.toLocaleDateString([], { day: "numeric", month: "short" })} `;
  return day + clock(seconds);
}

function ago(seconds) {
  const past = Math.max(0, Date.now() / 1000 - seconds);
  if (past < 90) return `${Math.round(past)} s ago`;
  if (past < 5400) return `${Math.round(past / 60)} min ago`;
  if (past < 129600) return `${Math.round(past / 3600)} h ago`;
  return `${Math.round(past / 86400)} days ago`;
}

// --- what is open stays open, also when a filter has hidden it in between

const opened = new Set(); // by data-key

function remember({ target }) {
  if (target.open) opened.add(target.dataset.key);
  else opened.delete(target.dataset.key);
}

// --- asking

let token = sessionStorage.getItem("token") ?? "";

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  at("token-form").hidden = answer.status !== 401;
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail ?? `${answer.status}`);
  }
  return answer;
}

const read = async (path) => (await ask(path)).json();

// --- the chain

const ROLES = {
  gateway: "The devices' WireGuard tunnels end here.",
  warp: "The one way out: the tunnel to WARP, behind it the VPS.",
  xray: "Wraps everything in TLS to the VPS.",
};

const LOOKS = { "in sync": "good", installed: "good", dropping: "warn", waiting: "warn", absent: "warn", unknown: "neutral" };
const look = (state) => LOOKS[state] ?? "bad";
// A hop's mark: the chain is cut without its port, where a function without one only waits.
const HOPS = { "in sync": "entries in sync", waiting: "entries wait", drift: "entries differ", unknown: "not known" };
const hopMark = (hop) => (hop.state === "absent" ? mark(`no port ${hop.port}`, "bad") : mark(HOPS[hop.state], look(hop.state)));

function arrow(forward, live) {
  const space = "http://www.w3.org/2000/svg";
  const upright = matchMedia("(max-width: 46rem)").matches;
  const drawn = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "line");
  const head = document.createElementNS(space, "polygon");
  const set = (target, values) => Object.entries(values).forEach(([name, value]) => target.setAttribute(name, value));
  set(drawn, { class: live ? "arrow live" : "arrow", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (upright) {
    set(drawn, { viewBox: "0 0 10 26" });
    set(line, forward ? { x1: 5, y1: 0, x2: 5, y2: 19 } : { x1: 5, y1: 26, x2: 5, y2: 7 });
    set(head, { points: forward ? "1,18 9,18 5,26" : "1,8 9,8 5,0" });
  } else {
    set(drawn, { viewBox: "0 0 100 10" });
    set(line, forward ? { x1: 0, y1: 5, x2: 93, y2: 5 } : { x1: 100, y1: 5, x2: 7, y2: 5 });
    set(head, { points: forward ? "92,1 100,5 92,9" : "8,1 0,5 8,9" });
  }
  drawn.append(line, head);
  return drawn;
}

function way(links, from, to, forward) {
  const mine = links.filter((link) => link.from === from && link.to === to);
  const sum = (unit) => mine.reduce((total, link) => total + link[unit], 0);
  const rate = mine.some((link) => link.rate)
    ? { bytes: mine.reduce((total, link) => total + (link.rate?.bytes ?? 0), 0) }
    : null;
  const words = element("small", { title: `${from} to ${to}: ${packets(sum("packets"))}` }, `${bits(rate)} · ${bytes(sum("bytes"))}`);
  return element("span", { className: "way" }, arrow(forward, (rate?.bytes ?? 0) > 0), words);
}

function hopCard(hop) {
  return element(
    "div",
    { className: "hop" },
    element("strong", {}, hop.title),
    element("div", {}, code(hop.port)),
    element("div", { className: "quiet" }, code(hop.address), ` in ${hop.namespace}`),
    hopMark(hop),
    element("div", { className: "quiet" }, `sent${NBSP}${bytes(hop.sent.bytes)} · got${NBSP}${bytes(hop.received.bytes)}`),
    hop.last_change ? element("div", { className: "quiet" }, `entries changed ${ago(hop.last_change)}`) : null,
    element("div", { className: "role" }, ROLES[hop.kind] ?? ""),
  );
}

function showChain(chain) {
  const parts = [
    element("div", { className: "end" }, "devices"),
    element("div", { className: "link short" }, element("span", { className: "way" }, arrow(true, false))),
  ];
  // Hops of one kind stand side by side in the chain, and below each other here.
  const kinds = [...new Set(chain.hops.map((hop) => hop.kind))];
  const stages = kinds.map((kind) => chain.hops.filter((hop) => hop.kind === kind));
  stages.forEach((stage, index) => {
    parts.push(element("div", { className: "stage" }, ...stage.map(hopCard)));
    const next = stages[index + 1];
    if (next) {
      const pairs = stage.flatMap((from) => next.map((to) => [from.port, to.port]));
      // Below each other (on a phone) the arrows stand at no card, so they name theirs.
      const name = ([from, to]) => (pairs.length > 1 ? element("span", { className: "pair" }, code(`${from} – ${to}`)) : null);
      const both = ([from, to]) => [way(chain.links, from, to, true), way(chain.links, to, from, false)];
      parts.push(element("div", { className: "link" }, ...pairs.map((pair) => element("div", { className: "both" }, name(pair), ...both(pair)))));
    }
  });
  at("chain").replaceChildren(...(chain.hops.length ? parts : ["The policy has no chain."]));
  at("chain-note").hidden = chain.hops.length === 0;
}

// --- switches

function verdict(one) {
  if (!one.connected) return mark("not connected", "bad");
  if (!one.ours) return mark("not the policy's", "neutral");
  if (!one.answers) return mark("does not answer", "bad");
  const drift = Object.entries(one.drift).filter(([, count]) => count);
  if (drift.length) return mark(drift.map(([kind, count]) => `${count} ${kind}`).join(", "), "bad");
  if (one.last_change && !one.last_change.confirmed) return mark("last change failed", "bad");
  return one.waiting.length ? mark("waiting", "warn") : mark("in sync", "good");
}

// What is worst, for the head of the page: a cut chain, then a switch that is not as it should be.
function summary(flows, chain) {
  const cut = chain.hops.filter((hop) => hop.state === "absent").map((hop) => hop.port);
  if (cut.length) return mark(`chain cut: no port ${cut.join(", ")}`, "bad");
  const ours = flows.switches.filter((one) => one.ours).map(verdict);
  const worst = ["bad", "warn", "neutral"].map((kind) => ours.find((each) => each.classList.contains(kind))).find(Boolean);
  return worst ?? (ours.length ? mark("in sync", "good") : mark("no switch", "warn"));
}

// How many entries are there; of a switch that does not tell, how many there were.
function count(one) {
  if (!one.read_at) return `${plural(one.desired, "entry", "entries")} wanted, never read`;
  const seen = one.answers ? "" : `, as last seen ${moment(one.read_at)}`;
  return `${one.installed} of ${plural(one.desired, "entry", "entries")}${seen}`;
}

function changeText(change) {
  if (!change) return "unchanged since this controller started";
  const counts = ["added", "replaced", "deleted"].filter((key) => change[key]).map((key) => `${change[key]} ${key}`);
  const how = change.confirmed ? [...counts, `confirmed in ${change.milliseconds.toFixed(1)} ms`] : [change.reason];
  return `last change ${ago(change.time)}: ${[change.trigger, ...how].join(", ")}`;
}

function waitingMarks(one) {
  const words = ({ entries, dropping }, port) => {
    const waits = entries ? [plural(entries, "entry waits", "entries wait")] : [];
    if (dropping) waits.push(entries ? plural(dropping, "drops", "drop") : plural(dropping, "entry drops", "entries drop"));
    return `${waits.join(", ")}: no ${port}`;
  };
  const each = one.waiting.map((all) => mark(words(all, `port ${all.port}`), "warn"));
  if (each.length <= MOST_WAITING) return each;
  const add = (sum, all) => ({ entries: sum.entries + all.entries, dropping: sum.dropping + all.dropping });
  const total = one.waiting.reduce(add, { entries: 0, dropping: 0 });
  const sum = element("summary", {}, mark(words(total, `${each.length} ports`), "warn"));
  const key = `${one.dpid}`;
  return [element("details", { className: "waiting", key, open: opened.has(key) }, sum, ...each)];
}

function showSwitches(flows, chain) {
  const problems = flows.policy.problems;
  at("refused").hidden = problems.length === 0;
  at("refused").replaceChildren(
    element("strong", {}, "The newest policy document is refused; the last good one stays in force."),
    element("ul", {}, ...problems.slice(0, 20).map((problem) => element("li", {}, code(problem)))),
  );
  const rows = flows.switches.map((one) =>
    element(
      "div",
      { className: "switch", key: `${one.dpid}` },
      element("strong", {}, one.name || "switch"),
      verdict(one),
      element("span", { className: "quiet" }, code(one.dpid.toString(16).padStart(16, "0"))),
      one.ours ? element("span", {}, count(one)) : null,
      element("span", { className: "quiet" }, changeText(one.last_change)),
      ...waitingMarks(one),
    ),
  );
  showIn(at("switches"), rows.length ? rows : [new Text("No switch has connected yet.")]);
  at("summary").replaceChildren(
    summary(flows, chain),
    problems.length ? mark("newer policy refused", "bad") : "",
    ` policy ${flows.policy.revision.slice(0, 8)} from `,
    code(flows.policy.file),
  );
}

// --- functions

function showFunctions({ functions, total }) {
  const rows = functions.flatMap((each) =>
    each.routes.map((route) =>
      element(
        "tr",
        {},
        cell("", element("strong", {}, each.function)),
        cell("match", code(matchText(route.match_fields))),
        cell("to", code(route.target_socket)),
        cell("", mark(each.state, look(each.state))),
        cell("packets", short(each.packets), "number"),
      ),
    ),
  );
  const head = element("tr", {}, ...["Function", "Match", "Socket", "State"].map((name) => element("th", {}, name)));
  head.append(element("th", { className: "number" }, "Packets"));
  const table = element("table", { className: "stacks" }, element("thead", {}, head), element("tbody", {}, ...rows));
  const more = functions.length < total ? `The first ${functions.length} functions of ${total}.` : "";
  at("functions").replaceChildren(rows.length ? table : "The policy routes no function.", more);
}

const matchText = (fields) => Object.entries(fields).map(([name, text]) => (text ? `${name}=${text}` : name)).join(",");

// --- flow entries, by table and item

let lastFlows = null;

function fits(entry) {
  const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${entry.item} ${entry.match} ${entry.actions} ${entry.description} ${entry.table_name}`.toLowerCase();
  return words.every((word) => text.includes(word)) && (!at("state").value || entry.state === at("state").value);
}

function grouped(entries, key) {
  const groups = new Map();
  for (const entry of entries) {
    const group = key(entry);
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(entry);
  }
  return groups;
}

function entryRow(entry) {
  const actions = entry.found ? `${entry.actions}, but found: ${entry.found}` : entry.actions;
  return element(
    "tr",
    { title: entry.description },
    cell("priority", `${entry.priority}`, "number"),
    cell("match", code(entry.match || "everything else")),
    cell("actions", code(actions)),
    cell("packets", short(entry.packets), "number"),
    cell("rate", entry.rate ? `${short(entry.rate.packets)}/s` : "…", "number"),
    cell("", mark(entry.state, look(entry.state))),
  );
}

function itemDetails(key, item, entries) {
  const sum = (value) => entries.reduce((total, entry) => total + value(entry), 0);
  const odd = [...grouped(entries.filter((entry) => entry.state !== "installed"), (entry) => entry.state)];
  const head = element("tr", {});
  for (const name of ["Priority", "Match", "Actions", "Packets", "Rate", "State"]) {
    const isNumber = ["Priority", "Packets", "Rate"].includes(name);
    head.append(element("th", { className: isNumber ? "number" : "" }, name));
  }
  return element(
    "details",
    { key, open: opened.has(key) },
    element(
      "summary",
      {},
      element("span", { className: "name" }, item || "(of no policy item)"),
      ...odd.map(([state, some]) => mark(`${some.length} ${state}`, look(state))),
      element("span", { className: "quiet number" }, plural(entries.length, "entry", "entries")),
      element("span", { className: "quiet number" }, packets(sum((entry) => entry.packets))),
      element("span", { className: "number" }, `${short(sum((entry) => entry.rate?.packets ?? 0))}/s`),
    ),
    element("table", { className: "stacks" }, element("thead", {}, head), element("tbody", {}, ...entries.map(entryRow))),
  );
}

// Why no entry is shown.
function nothing() {
  if (at("filter").value.trim() || at("state").value) return "No entry fits.";
  const ours = lastFlows.switches.filter((one) => one.ours);
  if (!ours.length) return "No switch of the policy has connected yet.";
  return ours.some((one) => one.read_at) ? "The policy wants no entry, and there is none." : "No switch has told its entries yet.";
}

function showFlows() {
  if (!lastFlows) return;
  const parts = [];
  for (const one of lastFlows.switches.filter((each) => each.ours)) {
    const shown = one.entries.filter(fits);
    for (const [table, entries] of grouped(shown, (entry) => entry.table)) {
      const name = entries[0].table_name ? `${entries[0].table_name}: ${TABLES[table] ?? ""}` : "";
      const title = lastFlows.switches.length > 1 ? `${one.name} · table ${table}` : `Table ${table}`;
      parts.push(element("h3", { key: `${one.dpid}/${table}` }, `${title} ${name}`));
      for (const [item, some] of grouped(entries, (entry) => entry.item)) {
        parts.push(itemDetails(`${one.dpid}/${table}/${item}`, item, some));
      }
    }
    if (one.entries.length >= MOST_ENTRIES) parts.push(new Text(`The first ${MOST_ENTRIES} entries of ${one.name}.`));
  }
  showIn(at("flows"), parts.length ? parts : [new Text(nothing())]);
}

// --- events: a stream by fetch, which can carry the token; it goes on where it was

const LEVELS = { info: "neutral", warning: "warn", error: "bad", critical: "bad" };

function showEvent(happened) {
  const then = new Date(happened.time * 1000);
  const line = element(
    "li",
    {},
    element("time", { dateTime: then.toISOString(), title: then.toLocaleString() }, moment(happened.time)),
    element("span", {}, mark(happened.kind, happened.kind === "drift" ? "bad" : LEVELS[happened.level] ?? "neutral")),
    element("span", {}, happened.message),
  );
  at("events").prepend(line);
  while (at("events").children.length > MOST_EVENTS) at("events").lastChild.remove();
}

async function followEvents() {
  let last = 0;
  for (;;) {
    try {
      const answer = await ask(`v1/events?since=${last}`, { headers: { Accept: "text/event-stream" } });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          const data = block.split("\n").find((line) => line.startsWith("data: "));
          if (!data) continue;
          const happened = JSON.parse(data.slice(6));
          last = happened.number;
          showEvent(happened);
          soon();
        }
      }
    } catch {
      // The controller restarts, or is gone. The next one counts on.
    }
    await new Promise((done) => setTimeout(done, EVERY));
  }
}

// --- trace

function traceSteps(title, trace) {
  const steps = trace.steps.map((step) =>
    element(
      "li",
      {},
      element("div", {}, `Table ${step.table} ${step.table_name}: `, element("strong", {}, step.entry?.item ?? "no entry")),
      step.entry ? element("div", {}, code(`priority ${step.entry.priority}, ${step.entry.match || "everything else"}`)) : null,
      step.entry ? element("div", {}, "does ", code(step.entry.actions)) : null,
      step.entry?.document ? element("div", { className: "quiet" }, code(step.entry.document)) : null,
    ),
  );
  const ports = trace.outputs.map((output) => output.port).join(", ");
  const end = trace.verdict === "sent" ? mark(`sent to ${ports}`, "good") : mark("dropped", "warn");
  const notes = trace.notes.map((note) => element("p", { className: "notice warn" }, note));
  return element("div", {}, element("h3", {}, title), end, ...notes, element("ol", { className: "steps" }, ...steps));
}

async function trace() {
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ packet: at("packet").value }),
  };
  history.replaceState(null, "", `#packet=${encodeURIComponent(at("packet").value)}`);
  try {
    const traced = await (await ask("v1/trace", options)).json();
    const parts = [];
    for (const one of traced.installed) {
      const name = traced.installed.length > 1 ? `${one.name}: as` : "As";
      const way = ({ notes, ...rest }) => JSON.stringify(rest);
      const same = way(one.trace) === way(one.desired);
      const wanted = same ? { ...one.desired, notes: [...one.desired.notes, ...one.trace.notes] } : one.desired;
      parts.push(traceSteps(`${name} the policy wants it${same ? ", and as installed" : ""}`, wanted));
      if (!same) parts.push(traceSteps(`As ${one.name} holds it: different`, one.trace));
    }
    if (!parts.length) parts.push(traceSteps("As the policy wants it; no switch is connected", traced.desired));
    at("trace").replaceChildren(element("div", { className: "traces" }, ...parts));
  } catch (problem) {
    at("trace").replaceChildren(element("p", { className: "notice bad" }, problem.message));
  }
}

let exampled = ""; // the policy whose examples are shown

async function showExamples(revision) {
  if (revision === exampled) return;
  const { examples } = await read("v1/trace");
  exampled = revision;
  at("packet").value ||= examples[0]?.packet ?? "";
  const buttons = examples.map(({ title, packet }) => {
    const button = element("button", { type: "button", className: "plain" }, title);
    button.addEventListener("click", () => {
      at("packet").value = packet;
      trace();
    });
    return button;
  });
  const parts = buttons.flatMap((button, index) => [index ? " · " : "For example ", button]);
  at("examples").replaceChildren(...parts);
}

// --- the clockwork

let timer = 0;

async function refresh() {
  clearTimeout(timer);
  try {
    const [flows, chain, functions] = await Promise.all([
      read(`v1/flows?max_age=1&limit=${MOST_ENTRIES}`),
      read("v1/chain?max_age=1"),
      read(`v1/functions?max_age=1&limit=${MOST_FUNCTIONS}`),
    ]);
    lastFlows = flows;
    showSwitches(flows, chain);
    showChain(chain);
    showFunctions(functions);
    showFlows();
    await showExamples(flows.policy.revision);
  } catch (problem) {
    at("summary").replaceChildren(mark("no answer", "bad"), ` ${problem.message}`);
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, document.hidden ? 10 * EVERY : EVERY);
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(refresh, 200);
}

for (const place of ["flows", "switches"]) at(place).addEventListener("toggle", remember, true);
at("filter").addEventListener("input", showFlows);
at("state").addEventListener("change", showFlows);
at("trace-form").addEventListener("submit", (event) => {
  event.preventDefault();
  trace();
});
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = at("token").value.trim();
  sessionStorage.setItem("token", token);
  refresh();
});
if (location.hash.startsWith("#packet=")) {
  at("packet").value = decodeURIComponent(location.hash.slice(8));
  trace();
}
document.addEventListener("visibilitychange", refresh);
matchMedia("(max-width: 46rem)").addEventListener("change", refresh);
refresh();
followEvents();
