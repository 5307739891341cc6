// Says which kernel has everything that is ticked, and keeps the choice in the address.
"use strict";
(() => {
  const kernels = JSON.parse(document.getElementById("kernels").textContent);
  const form = document.querySelector("form.picker");
  if (!form || !kernels.length) return;
  const boxes = [...document.querySelectorAll("input[name=need]")];
  const answer = document.getElementById("answer");
  const reset = form.querySelector("button");
  const series = (text) => text.split(".").map(Number);
  const isNewer = (a, b) => series(a)[0] - series(b)[0] || series(a)[1] - series(b)[1];

  // Of several rows: 0 where one lacks it, ? where one is not known, else 1.
  const together = (rows) => kernels.map((_, i) => {
    const found = new Set(rows.map((row) => row.dataset.known[i]));
    return found.has("0") ? "0" : found.has("?") ? "?" : "1";
  });

  // The last unbroken row of kernels that have it, as the tables' own "works from".
  const minimum = (signs, how) => {
    const known = kernels.map((kernel, i) => ({ kernel, has: signs[i] === "1", sign: signs[i] }))
      .filter((one) => one.sign !== "?");
    const last = known.map((one) => one.has).lastIndexOf(true);
    if (!known.length) return { text: "not known on any kernel here" };
    if (last < 0) return { text: "on no tested kernel" };
    let first = last;
    while (first > 0 && known[first - 1].has) first -= 1;
    const notes = [];
    if (first > 0) notes.push("not on " + known[first - 1].kernel.exact);
    if (last + 1 < known.length) notes.push("lost by " + known[last + 1].kernel.exact);
    const at = known[first].kernel.exact;
    return { text: how + " from " + at + " on" + (notes.length ? " (" + notes.join(", ") + ")" : "") };
  };

  const sentence = (rows) => {
    const documented = rows.map((row) => row.dataset.documented);
    const newest = documented.every(Boolean) ? [...documented].sort(isNewer).pop() : null;
    const signs = together(rows);
    const observed = rows.filter((row) => "observed" in row.dataset).length;
    const how = !observed ? "tested" : observed === rows.length ? "observed" : "tested or observed";
    const having = new Set(), lacking = new Set();
    kernels.forEach((kernel, i) => {
      if (kernel.distribution && signs[i] === "1") having.add(kernel.distribution);
      if (kernel.distribution && signs[i] === "0") lacking.add(kernel.distribution);
    });
    const parts = [(newest ? "documented " + newest + ", " : "") + minimum(signs, how).text];
    if (having.size) parts.push([...having].join(", "));
    if (lacking.size) parts.push("not " + [...lacking].join(", "));
    const stated = rows.filter((row) => "stated" in row.dataset).length;
    const basis = stated ? " (" + (stated === rows.length ? "all" : stated) + " by the kernels' own word)" : "";
    return (rows.length === 1 ? "This one" : "All " + rows.length + " together") + basis + ": " + parts.join("; ") + ".";
  };

  const show = () => {
    const ticked = boxes.filter((box) => box.checked);
    answer.textContent = ticked.length ? sentence(ticked.map((box) => box.closest("tr"))) : "";
    reset.hidden = !ticked.length;
    document.body.classList.toggle("picked", ticked.length > 0);
    const hash = ticked.length ? "#need=" + ticked.map((box) => encodeURIComponent(box.value)).join(",") : "";
    if (hash || location.hash.startsWith("#need=")) {
      history.replaceState(null, "", hash || location.pathname + location.search);
    }
  };

  const read = () => {
    if (!location.hash.startsWith("#need=")) return;
    const wanted = new Set(location.hash.slice(6).split(",").map(decodeURIComponent));
    for (const box of boxes) {
      box.checked = wanted.has(box.value);
      if (box.checked && box.closest("details")) box.closest("details").open = true;
    }
    show();
  };

  document.getElementById("hint").textContent = "Tick what you need.";
  document.addEventListener("change", (event) => { if (event.target.name === "need") show(); });
  form.addEventListener("reset", () => { for (const box of boxes) box.checked = false; setTimeout(show); });
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", read);
  read();
})();
