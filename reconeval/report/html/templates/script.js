"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);

  // Theme: that of the system until the reader chooses one.
  const themes = ["system", "light", "dark"];
  const remembered = () => {
    try { return localStorage.getItem("reconeval-theme"); } catch { return null; }
  };
  const paint = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    $("theme").textContent = `Theme: ${theme}`;
  };
  let theme = themes.includes(remembered()) ? remembered() : "system";
  paint(theme);
  $("theme").hidden = false;
  $("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    paint(theme);
    try { localStorage.setItem("reconeval-theme", theme); } catch { /* a file may have no storage */ }
  });

  // The table of scores: sort by a heading, show some rows.
  const table = $("rows");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column, numeric) => {
    const cell = row.cells[column];
    if (!numeric) return (cell.querySelector(".model") ?? cell).textContent.trim();
    return cell.dataset.v ? Number(cell.dataset.v) : NaN;
  };
  const compare = (a, b, numeric) => {
    if (!numeric) return a.localeCompare(b, "en", { numeric: true });
    return a - b;
  };
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const numeric = button.dataset.kind === "num";
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [key(row, column, numeric), row]);
      const blank = ([value]) => value === "" || Number.isNaN(value);
      rows.sort((a, b) => blank(a) - blank(b) || (up ? 1 : -1) * compare(a[0], b[0], numeric) || 0);
      body.append(...rows.map(([, row]) => row)); // without a value: last, whichever way
    });
  });
  const show = () => {
    const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const place = $("place").value;
    const family = $("family").value;
    const failed = $("failed").checked;
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(words.every((word) => text.includes(word))
        && (!place || row.cells[1].textContent === place)
        && (!family || row.dataset.f === family)
        && (!failed || row.querySelector(".fail")));
      shown += !row.hidden;
    }
    $("count").textContent = `${shown} of ${body.rows.length} rows`;
  };
  const form = document.querySelector(".filter");
  form.hidden = false;
  for (const event of ["input", "change"]) form.addEventListener(event, show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();

  // Commands, to be copied.
  const copy = async (code, said) => {
    let done = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch { // not allowed here: select it, for the reader's own keys
      getSelection().selectAllChildren(code);
      done = document.execCommand("copy");
    }
    said(done ? "copied" : "selected: copy it with your keyboard");
  };
  for (const button of document.querySelectorAll("dd .copy")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(
      button.parentElement.querySelector("code"), (text) => { button.textContent = text; }));
  }
  const nameOf = (row) => {
    const metric = row.cells[2].textContent.trim().split(" ")[0];
    return [metric, row.querySelector(".model").textContent, row.cells[1].textContent];
  };
  const facts = (row) => {
    const place = data.places[row.dataset.c];
    const found = [["spec", place.spec], ["data", place.data]];
    if (row.dataset.i) found.push(["interval", data.methods[row.dataset.i]]);
    const [metric] = nameOf(row);
    if (data.metrics[metric]) found.push([metric, data.metrics[metric]]);
    return found;
  };
  const last = document.createElement("th");
  last.scope = "col";
  last.textContent = "reproduce";
  table.tHead.rows[0].append(last);
  for (const row of body.rows) {
    const button = document.createElement("button");
    const [metric, model, place] = nameOf(row);
    button.type = "button";
    button.className = "how";
    button.textContent = "how";
    button.setAttribute("aria-label", `Reproduce ${metric} of ${model} on ${place}`);
    row.append(document.createElement("td"));
    row.lastElementChild.append(button);
  }
  body.addEventListener("click", (event) => {
    const button = event.target.closest(".how");
    if (!button) return;
    const row = button.closest("tr");
    const command = data.places[row.dataset.c].command;
    $("detail-title").textContent = button.getAttribute("aria-label");
    $("detail-facts").replaceChildren(...facts(row).flatMap(([name, value]) => {
      const pair = [document.createElement("dt"), document.createElement("dd")];
      pair[0].textContent = name;
      pair[1].textContent = value;
      return pair;
    }));
    $("detail-command").textContent = command
      ? [command, row.dataset.n].filter(Boolean).join(" ") : "the command was not kept";
    $("detail-copy").hidden = !command;
    $("detail-said").textContent = "";
    $("detail").showModal();
  });
  $("detail-copy").addEventListener("click", () => copy(
    $("detail-command"), (text) => { $("detail-said").textContent = text; }));
  $("detail-close").addEventListener("click", () => $("detail").close());

  // A link or a printer finds what is folded.
  const unfold = () => {
    const target = location.hash && $(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of folded) one.open = false; });
})();
