// The voters of the page: networks that ONNX Runtime Web runs, and what they say together.

let runtime = null;

async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer;
}

export const facts = async () => (await fetched("live/voters.json")).json();

// ONNX Runtime from the site itself, one thread: so it needs no headers that a plain site does not send.
// A browser keeps the failure of an import: each try has an address of its own.
let tries = 0;
async function started() {
  const address = `./ort/ort.wasm.bundle.min.mjs${tries ? `?${tries}` : ""}`;
  tries += 1;
  const [ort, packed] = await Promise.all([import(address), fetched("ort/ort-wasm-simd-threaded.wasm.gz")]);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await new Response(packed.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  return ort;
}

// Load voters once; `onShare` hears how many are ready. A failure is forgotten, so that one may try again.
const kept = new Map();
export function loaded(voters, onShare) {
  const key = voters.map(({ file }) => file).join();
  if (!kept.has(key)) {
    kept.set(key, brought(voters, onShare).catch((error) => { kept.delete(key); throw error; }));
  }
  return kept.get(key);
}

async function brought(voters, onShare) {
  const files = Promise.all(voters.map(async ({ file }) => new Uint8Array(await (await fetched(`live/${file}`)).arrayBuffer())));
  const [ort, weights] = await Promise.all([runtime ?? started(), files]), sessions = [];
  runtime = ort;
  for (const bytes of weights) {
    sessions.push(await runtime.InferenceSession.create(bytes, { graphOptimizationLevel: "all" }));
    onShare(sessions.length);
  }
  return sessions;
}

// What one voter says of 16 kHz samples: a probability for each label.
export async function answer(session, samples) {
  const { probabilities } = await session.run({ samples: new runtime.Tensor("float32", samples, [1, samples.length]) });
  return Array.from(probabilities.data);
}

export const top = (shares) => shares.indexOf(Math.max(...shares));

// The mean of all answers; and the label that most voters name, ties broken by the greatest summed probability.
export function votes(answers) {
  const mass = answers[0].map((_, label) => answers.reduce((sum, shares) => sum + shares[label], 0));
  const counts = mass.map((_, label) => answers.filter((shares) => top(shares) === label).length);
  const most = Math.max(...counts), tied = counts.flatMap((count, label) => (count === most ? [label] : []));
  const hard = tied.reduce((best, label) => (mass[label] > mass[best] ? label : best), tied[0]);
  return { soft: mass.map((sum) => sum / answers.length), hard, tied, most };
}
