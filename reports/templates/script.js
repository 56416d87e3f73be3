"use strict";
(() => {
  const text = (cell) => cell ? cell.textContent.trim() : "";
  const value = (cell) => {
    const plain = text(cell).replace(/,/g, "");
    return plain !== "" && !isNaN(plain) ? Number(plain) : null;
  };
  const ranks = { critical: 0, high: 1, medium: 2, low: 3 };
  const compare = (a, b) => {
    const [x, y] = [text(a), text(b)];
    if (x in ranks && y in ranks) return ranks[x] - ranks[y];
    const [m, n] = [value(a), value(b)];
    if (m !== null && n !== null) return m - n;
    if (x === "" || y === "") return (x === "") - (y === "");
    return x.localeCompare(y, "en");
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        headings.forEach((each) => each.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].sort((a, b) => (down ? -1 : 1) * compare(a.cells[column], b.cells[column]));
        body.append(...rows);
      });
    });
  }
  for (const table of document.querySelectorAll("table.filterable")) {
    const rows = [...table.tBodies[0].rows];
    const names = [...table.tHead.rows[0].cells].map(text);
    const tools = document.createElement("div");
    tools.className = "tools";
    const label = document.createElement("label");
    label.textContent = "Filter ";
    const input = document.createElement("input");
    input.type = "search";
    label.append(input);
    const count = document.createElement("span");
    count.className = "sub";
    count.setAttribute("role", "status");
    const choices = [];
    for (const name of ["Verdict", "Severity", "Change", "Status"]) {
      const column = names.indexOf(name);
      const found = column < 0 ? [] : [...new Set(rows.map((row) => text(row.cells[column])))];
      if (found.length < 2) continue;
      const select = document.createElement("select");
      select.setAttribute("aria-label", name);
      select.append(new Option(`${name}: all`, ""), ...found.map((each) => new Option(each, each)));
      choices.push([column, select]);
    }
    const apply = () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const content = row.textContent.toLowerCase();
        const fits = wanted.every((word) => content.includes(word)) &&
          choices.every(([column, select]) => !select.value || text(row.cells[column]) === select.value);
        row.hidden = !fits;
        shown += fits;
      }
      count.textContent = `${shown} of ${rows.length} shown`;
    };
    tools.append(label, ...choices.map(([, select]) => select), count);
    table.parentElement.before(tools);
    for (const control of [input, ...choices.map(([, select]) => select)]) control.addEventListener("input", apply);
    apply();
  }
})();
