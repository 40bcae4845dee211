"use strict";
// Three small things: the theme, the tooltips of charts, the sample browser. Text enters the page as text only.
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);

  const themes = ["system", "light", "dark"];
  const button = byId("theme");
  const recall = () => { try { return localStorage.getItem("r1-theme"); } catch { return null; } };
  const keep = (value) => { try { localStorage.setItem("r1-theme", value); } catch { /* a file may not be allowed to */ } };
  const setTheme = (name) => {
    const theme = themes.includes(name) ? name : "system";
    if (theme === "system") root.removeAttribute("data-theme"); else root.dataset.theme = theme;
    button.querySelector("span").textContent = theme;
    button.dataset.theme = theme;
  };
  setTheme(recall());
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(button.dataset.theme) + 1) % themes.length];
    setTheme(next);
    keep(next);
  });

  const tip = byId("tip");
  const hide = (svg) => { tip.hidden = true; svg.querySelector(".cross")?.remove(); };
  const told = (value, share) => share ? `${(100 * value).toFixed(1)} %` : String(Number(value.toPrecision(3)));
  for (const svg of document.querySelectorAll("svg[data-chart]")) {
    const data = JSON.parse(svg.dataset.chart);
    const [left, right, top, bottom, first, last] = data.box;
    svg.addEventListener("pointermove", (event) => {
      const frame = svg.getBoundingClientRect();
      const x = (event.clientX - frame.left) * svg.viewBox.baseVal.width / frame.width;
      const wanted = first + (last - first) * (x - left) / (right - left);
      const near = (points) => points.reduce((a, b) => Math.abs(b[0] - wanted) < Math.abs(a[0] - wanted) ? b : a);
      const step = near(data.s.flatMap((series) => series.p))[0];
      const rows = data.s.map((series) => [series.n, near(series.p)]);
      hide(svg);
      const at = left + (right - left) * (step - first) / (last - first);
      const cross = document.createElementNS("http://www.w3.org/2000/svg", "line");
      for (const [name, value] of Object.entries({ x1: at, x2: at, y1: top, y2: bottom, class: "cross" })) cross.setAttribute(name, value);
      svg.append(cross);
      tip.textContent = [`${data.x} ${step}`, ...rows.map(([name, point]) => `${name}  ${told(point[1], data.share)}`)].join("\n");
      tip.hidden = false;
      const wide = tip.offsetWidth;
      tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - wide - 8))}px`;
      tip.style.top = `${Math.max(4, event.clientY - tip.offsetHeight - 12)}px`;
    });
    svg.addEventListener("pointerleave", () => hide(svg));
  }

  // what is closed on the screen is open on paper, and closed again behind it
  let opened = [];
  const open = () => { const closed = [...document.querySelectorAll("details:not([open])")]; opened.push(...closed); for (const each of closed) each.open = true; };
  const close = () => { for (const each of opened) each.open = false; opened = []; };
  const paper = matchMedia("print");
  if (paper.matches) open();
  paper.addEventListener("change", (event) => (event.matches ? open() : close()));

  const browser = byId("browser");
  if (browser === null) return;
  const sources = JSON.parse(byId("samples-data").textContent);
  browser.hidden = false;
  const [source, before, after, only] = ["source", "before", "after", "only"].map(byId);
  let place = 0;

  const make = (name, kind, text) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const fill = (select, words) => select.replaceChildren(...words.map((word, i) => {
    const option = make("option", "", word);
    option.value = i;
    return option;
  }));
  const chosen = () => sources[source.value];
  const labels = () => [chosen().labels[before.value], chosen().labels[after.value]];
  const paired = () => !chosen().items.some((item) => item.moment);
  const shown = () => chosen().items.filter((item) => {
    if (!paired()) return [labels()[0], labels()[1]].includes(item.moment);
    const [a, b] = labels().map((label) => item.answers[label]?.[0].right);
    return { all: true, gained: !a && b, lost: a && !b, wrong: !b }[only.value];
  });

  const answer = (label, given, nth) => {
    const article = make("article");
    const head = make("h4", "", label);
    article.append(head);
    if (!given) { article.append(make("p", "quiet", "no answer is kept")); return article; }
    const found = given[nth];
    if (found.right !== null) head.append(make("span", `verdict ${found.right ? "right" : "wrong"}`, found.right ? "✓ right" : "✗ wrong"));
    head.append(make("span", "", `${found.tokens} tokens${found.cut ? ", cut off" : ""}`));
    if (given.length > 1) {
      const step = make("button", "another", `answer ${nth + 1} of ${given.length}`);
      step.type = "button";
      step.addEventListener("click", () => {
        const next = answer(label, given, (nth + 1) % given.length);
        article.replaceWith(next);
        next.querySelector(".another").focus();
      });
      head.append(step);
    }
    if (found.thinking !== null) article.append(make("p", "part", "thinking"), make("pre", "thinking", found.thinking || "(empty)"));
    if (found.answer !== null) article.append(make("p", "part", "answer"), make("pre", "final", found.answer || "(empty)"));
    if (found.text) article.append(make("p", "part", "as it was written"), make("pre", "thinking", found.text));
    const scores = Object.entries(found.parts).map(([name, value]) => `${name} ${value === null ? "unknown" : value}`);
    article.append(make("p", "scores", [...scores, found.why].filter(Boolean).join(" · ")));
    return article;
  };

  const show = () => {
    const items = shown();
    place = Math.max(0, Math.min(place, items.length - 1));
    const item = items[place];
    byId("place").textContent = items.length ? `${place + 1} of ${items.length}` : "none";
    only.parentElement.hidden = !paired();
    byId("about").textContent = item ? [item.moment, item.about].filter(Boolean).join(" · ") : "";
    byId("question").textContent = item ? item.question : "No problem is of this kind.";
    byId("reference").textContent = item?.reference ? `reference: ${item.reference}` : "";
    const wanted = !item ? [] : item.moment ? [item.moment] : [...new Set(labels())];
    byId("answers").replaceChildren(...wanted.map((label) => answer(label, item.answers[label], 0)));
  };
  const begin = () => {
    const found = chosen();
    fill(before, found.labels);
    fill(after, found.labels);
    before.value = 0;
    after.value = found.after ?? found.labels.length - 1;
    place = 0;
    show();
  };
  const turn = (by) => { place += by; show(); };
  fill(source, sources.map((each) => each.name));
  source.addEventListener("change", begin);
  for (const select of [before, after, only]) select.addEventListener("change", () => { place = 0; show(); });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  browser.addEventListener("keydown", (event) => {
    if (event.target.tagName === "SELECT") return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) { turn(by); event.preventDefault(); }
  });
  begin();
})();
