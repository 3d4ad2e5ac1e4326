// Python for the exercises of a page, away from the page itself, so that a loop without an end can be stopped.
const here = new URL(".", import.meta.url).href;

// The site holds Python's machine code compressed; it is asked for under its own name.
const fetched = self.fetch.bind(self);
self.fetch = async (what, options) => {
  const url = String(what.url ?? what);
  if (!url.endsWith("pyodide.asm.wasm")) return fetched(what, options);
  const packed = await fetched(`${url}.gz`, options);
  if (!packed.ok) return packed;
  const plain = packed.body.pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain, { headers: { "Content-Type": "application/wasm" } });
};

const begin = async () => {
  const { loadPyodide } = await import("./pyodide.mjs");
  const python = await loadPyodide({ indexURL: here });
  const answer = await fetched(`${here}checks.json`);
  for (const [path, text] of Object.entries(await answer.json())) {
    python.FS.mkdirTree(`/book/${path.slice(0, path.lastIndexOf("/"))}`);
    python.FS.writeFile(`/book/${path}`, text);
  }
  python.runPython("import sys; sys.path.insert(0, '/book')");
  return python;
};
const ready = begin();
ready.then(() => postMessage({ ready: true }), (error) => postMessage({ failed: String(error) }));

// The last line of a traceback says what is wrong, and the last line of the reader's own code where.
const inShort = (error) => {
  const lines = error.message.trim().split("\n");
  const places = [...error.message.matchAll(/File "<exec>", line (\d+)/g)];
  return lines.at(-1) + (places.length ? ` (line ${places.at(-1)[1]})` : "");
};

onmessage = async ({ data }) => {
  const python = await ready;
  const said = [];
  python.setStdout({ batched: (line) => said.push(line) });
  python.setStderr({ batched: (line) => said.push(line) });
  const globals = python.globals.get("dict")();
  try {
    python.runPython("import serlib as ser", { globals });
    python.runPython(data.code, { globals });
  } catch (error) {
    said.push(inShort(error));
  }
  globals.destroy();
  postMessage({ said: said.join("\n") });
};
