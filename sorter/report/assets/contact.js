// Filter, order and arrow keys for a page that reads without them. Reads the cards, makes none.
"use strict";

const $ = (id) => document.getElementById(id);
const names = new Intl.Collator(undefined, { numeric: true });
const orders = {
  written: (a, b) => a.place - b.place,
  low: (a, b) => a.p - b.p || a.place - b.place,
  high: (a, b) => b.p - a.p || a.place - b.place,
  name: (a, b) => names.compare(a.path, b.path) || a.place - b.place,
};

const sections = [...document.querySelectorAll("main > section")].map((node) => ({
  node,
  list: node.querySelector("ul"),
  count: node.querySelector("h2 span"),
  whole: node.querySelector("h2 span").textContent,
  cards: [...node.querySelectorAll("li")].map((item, place) => {
    const link = item.firstElementChild;
    return {
      item, link, place,
      title: item.querySelector("b").textContent,
      path: link.title,
      text: `${item.textContent} ${link.title}`.toLowerCase(),
      p: Number(item.dataset.p ?? 0),
    };
  }),
}));
const everything = sections.flatMap((section) => section.cards);
const whole = $("shown").textContent;

function narrow() {
  const wanted = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const title = $("title").value;
  const all = !wanted.length && !title;
  let shown = 0;
  for (const { node, count, whole: number, cards } of sections) {
    let here = 0;
    for (const card of cards) {
      const fits = (!title || card.title === title) && wanted.every((word) => card.text.includes(word));
      card.item.hidden = !fits;
      here += fits;
    }
    node.hidden = !here;
    count.textContent = all ? number : `${here} / ${number}`;
    shown += here;
  }
  const words = [shown, everything.length].map((n) => n.toLocaleString());
  $("shown").textContent = all ? whole : $("controls").dataset.shown.replace(/{}/g, () => words.shift());
}

function order() {
  for (const { list, cards } of sections) {
    list.append(...cards.sort(orders[$("sort").value]).map((card) => card.item));
  }
}

function visible() {
  return sections.flatMap((section) => section.cards).filter((card) => !card.item.hidden);
}

function focus(card) {
  if (!card) return;
  card.link.focus();
  card.item.scrollIntoView({ block: "nearest" });
}

// One card on, or the nearest one of the row above or below.
function move(key) {
  const cards = visible();
  const at = cards.findIndex((card) => card.link === document.activeElement);
  const way = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
  if (key === "ArrowLeft" || key === "ArrowRight") return focus(cards[at + way]);
  const box = (card) => card.item.getBoundingClientRect();
  const from = box(cards[at]);
  let best = null, row = null;
  for (let i = at + way; cards[i]; i += way) {
    const to = box(cards[i]);
    if (Math.abs(to.top - from.top) < 1) continue;
    if (row !== null && Math.abs(to.top - row) >= 1) break;
    row = to.top;
    const off = Math.abs(to.left - from.left);
    if (!best || off < best.off) best = { card: cards[i], off };
  }
  focus(best?.card);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const { key, target } = event;
  const onCard = target.closest?.("main li");
  if (key === "Escape") {
    $("filter").value = $("title").value = "";
    narrow();
  } else if (target === $("filter") && (key === "Enter" || key === "ArrowDown")) {
    focus(visible()[0]);
  } else if (key === "/" && target !== $("filter")) {
    $("filter").select();
    $("filter").focus();
  } else if (onCard && key.startsWith("Arrow")) {
    move(key);
  } else {
    return;
  }
  event.preventDefault();
});

const counts = new Map();
for (const card of everything) counts.set(card.title, (counts.get(card.title) ?? 0) + 1);
const ranked = [...counts].sort((a, b) => b[1] - a[1] || names.compare(a[0], b[0]));
$("title").append(...ranked.map(([title, n]) => new Option(`${title} (${n})`, title)));
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("filter").addEventListener("input", narrow);
$("title").addEventListener("change", narrow);
$("sort").addEventListener("change", order);
$("controls").reset(); // a browser that goes back fills in what was chosen before
$("controls").hidden = false;
