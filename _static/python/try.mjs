// Exercises that are answered in the page: where a check needs only Python, its cell can be edited and run here.
const SECONDS = 10;
let worker = null;

// One Python for all exercises of a page, begun when the first is tried, and again after a loop without an end.
const python = () => {
  worker ??= new Promise((settle, fail) => {
    const made = new Worker(new URL("worker.mjs", import.meta.url), { type: "module" });
    made.onerror = () => fail(new Error("the page could not start it"));
    made.onmessage = ({ data }) => (data.ready ? settle(made) : fail(new Error(data.failed)));
  });
  worker.catch(() => { worker = null; });
  return worker;
};

const run = (made, code) =>
  new Promise((settle) => {
    const late = setTimeout(() => {
      made.terminate();
      worker = null;
      settle(`Your code ran for ${SECONDS} seconds and was stopped. Is there a loop that never ends?`);
    }, SECONDS * 1000);
    made.onmessage = ({ data }) => {
      clearTimeout(late);
      settle(data.said || "Your code printed nothing.");
    };
    made.postMessage({ code });
  });

const make = (kind, properties) => Object.assign(document.createElement(kind), properties);

const editable = (cell) => {
  const code = cell.querySelector(".cell_input pre");
  const source = code.textContent.trimEnd();
  const open = make("button", { className: "try sd-btn sd-btn-outline-primary", textContent: "Try it here" });
  const bar = make("p", { className: "try" });
  bar.append(open);
  cell.querySelector(".cell_input").after(bar);
  open.addEventListener("click", () => {
    const box = make("textarea", {
      className: "try", value: source, spellcheck: false, rows: source.split("\n").length + 1, wrap: "off",
    });
    box.setAttribute("aria-label", "Your answer, in Python");
    const go = make("button", { className: "try sd-btn sd-btn-primary", textContent: "Check" });
    const back = make("button", { className: "try sd-btn sd-btn-outline-primary", textContent: "Start over" });
    const said = make("pre", { className: "try" });
    said.setAttribute("role", "status");
    cell.querySelectorAll(".cell_input, .cell_output").forEach((part) => { part.hidden = true; });
    bar.replaceChildren(go, " ", back);
    bar.before(box);
    bar.after(said);
    box.focus();
    python().catch(() => {});
    back.addEventListener("click", () => { box.value = source; said.textContent = ""; box.focus(); });
    go.addEventListener("click", async () => {
      go.disabled = true;
      said.textContent = "Python is coming, 7 MB the first time ...";
      try {
        const made = await python();
        said.textContent = "Running ...";
        said.textContent = await run(made, box.value);
      } catch (error) {
        const why = location.protocol === "file:" ? "a page opened from a file has none; use the site or make serve" : error.message;
        said.textContent = `Python did not start here: ${why}. On Colab the exercise runs as well.`;
      }
      go.disabled = false;
    });
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey || event.shiftKey)) {
        event.preventDefault();
        go.click();
      }
    });
  });
};

document.querySelectorAll(".cell.tag_answer-here").forEach(editable);
for (const cell of document.querySelectorAll(".cell.tag_answer-on-colab")) {
  const note = make("p", { className: "try", textContent: "This check needs more than Python alone: answer it on Colab." });
  cell.querySelector(".cell_input").after(note);
}
