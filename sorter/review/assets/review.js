// Draws the state that the server gives and sends one answer at a time. All text goes in as text.
"use strict";

const POLL_MS = 3000;
const $ = (id) => document.getElementById(id);
const words = JSON.parse($("words").textContent);
const say = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const input = $("search");
let state = null;
let busy = true; // until the picture in turn is on the screen: nobody answers for one not seen
let matches = [];
let chosen = 0;
let timer = 0;
let also = new Set(); // those that look alike and get the same answer

function make(tag, text, inside = []) {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  node.append(...inside);
  return node;
}

async function call(what, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const reply = await fetch(what, options);
  if (!reply.ok) throw new Error((await reply.text()).trim());
  return reply.json();
}

async function ask(what, body) {
  if (body !== undefined && busy) return;
  clearTimeout(timer);
  busy = true;
  try {
    draw(await call(what, body));
  } catch (error) {
    const gone = error instanceof TypeError;
    $("notice").textContent = gone ? say("ended") : error.message;
    if (!gone) busy = false;
  }
}

function draw(next) {
  const shown = state && state.picture;
  state = next;
  const { picture, counts, last } = next;
  $("counts").textContent = say("counts", counts) + (counts.broken ? say("broken", counts) : "");
  $("notice").textContent = next.notice;
  $("undo").disabled = !last;
  for (const id of ["skip", "unknown", "tray"]) $(id).disabled = !picture;
  $("teach").hidden = !next.can_teach;
  $("teach").disabled = !counts.labelled && !last;
  $("taught").textContent = next.taught;
  $("last").textContent = last
    ? say(last.do === "label" ? "is" : "skipped", { name: last.name, label: nameOf(last.code) })
    : "";
  $("empty").hidden = Boolean(picture);
  $("picture").hidden = !picture;
  $("choices").replaceChildren(...(picture ? picture.choices.map(choice) : []));
  if (!shown || !picture || shown.id !== picture.id) also = new Set();
  drawAlike(picture ? picture.alike : []);
  search("");
  if (!picture) {
    $("picture").removeAttribute("src");
    $("caption").textContent = "";
    $("empty").textContent = say("empty");
    busy = false;
    timer = setTimeout(() => ask("state"), POLL_MS);
    return;
  }
  const said = picture.station;
  $("caption").textContent = said
    ? say("said", { name: picture.name, label: said.name, score: percent(said.score) }) : picture.name;
  $("picture").alt = say("picture", picture);
  if (shown && shown.id === picture.id) busy = false;
  else $("picture").src = `picture/${picture.id}`;
}

function drawAlike(ids) {
  $("together").hidden = !ids.length;
  $("alike").replaceChildren(...ids.map((id) => {
    const image = make("img", "");
    image.src = `thumb/${id}`;
    image.alt = say("one alike");
    const button = make("button", "", [image]);
    button.type = "button";
    button.setAttribute("aria-pressed", String(also.has(id)));
    button.addEventListener("click", () => {
      if (!also.delete(id)) also.add(id);
      button.setAttribute("aria-pressed", String(also.has(id)));
      input.focus();
    });
    return make("li", "", [button]);
  }));
}

function together() {
  const ids = state.picture ? state.picture.alike : [];
  also = also.size < ids.length ? new Set(ids) : new Set();
  for (const [i, node] of $("alike").querySelectorAll("button").entries())
    node.setAttribute("aria-pressed", String(also.has(ids[i])));
}

function choice(one, place) {
  const name = make("span", one.name, [make("small", `${one.code} · ${one.bin}`)]);
  const button = make("button", "", [make("kbd", String(place + 1)), name, make("span", percent(one.score))]);
  button.type = "button";
  button.addEventListener("click", () => label(one.code));
  return make("li", "", [button]);
}

function search(text) {
  if (input.value !== text) input.value = text;
  const word = text.trim().toLowerCase();
  const rank = (c) => [c.name, c.code, c.other].some((t) => t.toLowerCase().startsWith(word)) ? 0 : 1;
  const holds = (c) => `${c.name} ${c.code} ${c.other} ${c.bin}`.toLowerCase().includes(word);
  matches = word && state.picture ? state.classes.filter(holds).sort((a, b) => rank(a) - rank(b)) : [];
  select(0);
}

function select(place) {
  chosen = Math.max(0, Math.min(place, matches.length - 1));
  $("matches").replaceChildren(...matches.map((one, i) => {
    const node = make("li", one.name, [make("small", [one.code, one.other, one.bin].filter(Boolean).join(" · "))]);
    node.id = `match-${i}`;
    node.setAttribute("role", "option");
    node.setAttribute("aria-selected", String(i === chosen));
    node.addEventListener("click", () => label(one.code));
    return node;
  }));
  input.setAttribute("aria-expanded", String(matches.length > 0));
  if (matches.length) {
    input.setAttribute("aria-activedescendant", `match-${chosen}`);
    $(`match-${chosen}`).scrollIntoView({ block: "nearest" });
  } else input.removeAttribute("aria-activedescendant");
}

const percent = (share) => `${Math.round(share * 100)} %`;
const nameOf = (code) => (state.classes.find((c) => c.code === code) || { name: code }).name;
const label = (code) => state.picture && ask("label", { id: state.picture.id, code, also: [...also] });
const skip = () => state.picture && ask("skip", { id: state.picture.id });
const teach = () => {
  if (!state.can_teach || busy) return;
  $("taught").textContent = say("teaching");
  ask("teach", {});
};
const undo = () => state.last && ask("undo", {});

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.ctrlKey || event.altKey || event.metaKey || !state) return;
  const onButton = document.activeElement instanceof HTMLButtonElement;
  if (onButton && (event.key === "Enter" || event.key === " ")) return;
  const empty = input.value === "";
  const wanted = {
    Backspace: empty && undo,
    " ": empty && skip,
    Escape: () => search(""),
    ArrowDown: matches.length && (() => select(chosen + 1)),
    ArrowUp: matches.length && (() => select(chosen - 1)),
    Enter: matches.length && (() => label(matches[chosen].code)),
  }[event.key] || (empty && /^[1-3]$/.test(event.key) && (() => {
    const one = state.picture && state.picture.choices[Number(event.key) - 1];
    if (one) label(one.code);
  })) || (empty && { 9: () => label("unknown"), 0: () => label("empty"), 8: teach, "=": together }[event.key]);
  if (wanted) {
    event.preventDefault();
    // A key held down is one answer, not twenty.
    if (!event.repeat || event.key.startsWith("Arrow")) wanted();
  } else if (event.key.length === 1) input.focus();
});
input.addEventListener("input", () => search(input.value));
$("all").addEventListener("click", together);
$("skip").addEventListener("click", skip);
$("unknown").addEventListener("click", () => label("unknown"));
$("tray").addEventListener("click", () => label("empty"));
$("teach").addEventListener("click", teach);
$("undo").addEventListener("click", undo);
$("finish").addEventListener("click", async () => {
  clearTimeout(timer);
  busy = true;
  try {
    await call("finish", {});
    document.querySelectorAll("button, input").forEach((node) => { node.disabled = true; });
    $("notice").textContent = "";
    $("last").textContent = say("finished");
  } catch (error) {
    $("notice").textContent = error.message;
  }
});
$("picture").addEventListener("load", () => { busy = false; document.body.dataset.ready = state.picture.id; });
$("picture").addEventListener("error", () => {
  busy = false;
  if (state.picture) $("notice").textContent = say("not loaded");
});
input.focus();
ask("state");
