"use strict";
// One answer at a time. Every text of a model is set as textContent, never as markup.
const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");
const NAMES = { u: "undecided", a: "accepted", e: "edited", r: "rejected" };
let page = 0, states = [], place = 0, row = null, busy = false;

async function ask(path, body) {
  const options = { headers: { "X-Review-Token": token } };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify({ page, ...body }) });
  let reply;
  try { reply = await fetch(path, options); } catch { throw Error("r1 review does not answer; start it again and reload"); }
  const found = await reply.json();
  if (!reply.ok) throw Error(found.error);
  return found;
}

function say(text) { $("message").textContent = text; $("message").hidden = !text; }
function fill(id, text, nothing) {
  $(id).textContent = text || nothing;
  $(id).classList.toggle("nothing", !text);
}
function mode(name) {
  for (const each of ["reading", "editing", "rejecting"]) $(each).hidden = each !== name && !(each === "reading" && name === "rejecting");
  for (const button of document.querySelectorAll("footer button")) button.disabled = name !== "reading";
}
function isReading() { return $("editing").hidden && $("rejecting").hidden; }

function progress() {
  const counts = { u: 0, a: 0, e: 0, r: 0 };
  for (const state of states) counts[state] += 1;
  $("progress").max = states.length;
  $("progress").value = states.length - counts.u;
  $("counts").textContent = Object.entries(NAMES).map(([letter, name]) => `${counts[letter]} ${name}`).join(" · ");
}

async function show(at) {
  row = await ask(`/api/row?place=${at}`);
  place = at;
  history.replaceState(null, "", `${location.pathname}${location.search}#${place + 1}`);
  $("where").textContent = `${place + 1} of ${states.length} · ${row.id}, sample ${row.sample} ·`;
  $("state").textContent = row.state;
  $("state").className = row.state;
  $("why").textContent = row.state === "rejected" ? row.reason : "";
  fill("question", row.question, "no question");
  fill("thinking", row.thinking, "no thinking");
  fill("answer", row.answer, "no answer");
  mode("reading");
  progress();
  scrollTo(0, 0);
}

function find(from, step, wanted) {
  for (let at = from; at >= 0 && at < states.length; at += step) if (!wanted || states[at] === wanted) return at;
  return -1;
}
async function move(step) {
  const at = find(place + step, step, $("filter").value);
  if (at >= 0) await show(at);
  else say(step > 0 ? "this is the last one" : "this is the first one");
}
async function toUndecided() {
  const at = find(0, 1, "u");
  if (at >= 0) await show(at);
  else say("every answer is decided");
}

async function decide(decision, more = {}) {
  const found = await ask("/api/decide", { place, decision, ...more });
  states[place] = found.state[0];
  const next = decision === "clear" ? place : find(place + 1, 1, $("filter").value);
  await show(next < 0 ? place : next);
}
function edit() {
  mode("editing");
  $("text").value = row.text;
  $("prefilled").textContent = row.prefilled ? `(${JSON.stringify(row.prefilled)} comes before it)` : "";
  $("text").focus();
}
function reject() {
  mode("rejecting");
  $("reason").value = row.state === "rejected" ? row.reason : "";
  $("reason").focus();
}
// a textarea turns \r\n into \n: a text that was only looked at is the one that was there
const normal = (text) => text.replace(/\r\n?/g, "\n");
const edited = () => ($("text").value === normal(row.text) ? row.text : $("text").value);

const ACTIONS = {
  accept: () => decide("accept", {}), edit, reject, clear: () => decide("clear"),
  previous: () => move(-1), next: () => move(1), undecided: toUndecided,
  save: () => decide(edited() === row.original ? "accept" : "edit", { text: edited() }),
  cancel: () => mode("reading"), spare: () => mode("reading"),
  confirm: () => decide("reject", { reason: $("reason").value }),
};
const KEYS = { a: "accept", e: "edit", r: "reject", u: "clear", k: "previous", j: "next", n: "undecided",
  ArrowLeft: "previous", ArrowRight: "next", ArrowUp: "previous", ArrowDown: "next" };

async function act(name) {
  if (busy) return;
  busy = true;
  say("");
  try { await ACTIONS[name](); } catch (error) { say(error.message); } finally { busy = false; }
}
for (const name of Object.keys(ACTIONS)) $(name).addEventListener("click", () => act(name));
$("filter").addEventListener("change", () => {
  $("filter").blur();
  const at = find(0, 1, $("filter").value);
  if (at >= 0) show(at).catch((error) => say(error.message)); else say(`nothing is ${NAMES[$("filter").value]}`);
});
document.addEventListener("keydown", (event) => {
  let name = null;
  if (!$("editing").hidden) name = event.key === "Escape" ? "cancel" : event.key === "Enter" && (event.ctrlKey || event.metaKey) ? "save" : null;
  else if (!$("rejecting").hidden) name = event.key === "Escape" ? "spare" : event.key === "Enter" ? "confirm" : null;
  else if (!event.ctrlKey && !event.metaKey && !event.altKey && event.target.tagName !== "SELECT") name = KEYS[event.key] || null;
  if (name) { event.preventDefault(); act(name); }
});

(async () => {
  try {
    const found = await ask("/api/open");
    page = found.page;
    states = [...found.states];
    const given = Number(location.hash.slice(1)) - 1;
    const first = find(0, 1, "u");
    await show(given >= 0 && given < states.length ? given : Math.max(first, 0));
  } catch (error) { say(error.message); }
})();
