// Checks in Node: the list of them, and the talk with run.py.
//
// `--list` prints the checks; otherwise the arguments are those to run. One JSON object
// a line: results and requests for servers go out, the answers to requests come in.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { stripVTControlCharacters } from "node:util";

// Packages are installed elsewhere: nothing of them belongs beside the sources.
export const load = createRequire(process.env.LIVE_MODULES + "/");

const PATIENCE = 15;

const checks = [];
const answers = [];

export function check(name, run, { limit = 40, beside = false } = {}) {
  checks.push({ name, run, limit, beside });
}

export class Failed extends Error {}

export function expect(condition, what) {
  if (!condition) throw new Failed(what);
}

export function expectEqual(actual, expected, what) {
  const [is, should] = [written(actual), written(expected)];
  expect(is === should, `${what}: expected ${brief(should)}, got ${brief(is)}`);
}

function written(value) {
  return Buffer.isBuffer(value) ? value.toString("hex") : String(JSON.stringify(value));
}

function brief(text) {
  return text.length > 100 ? `${text.slice(0, 60)}... (${text.length} long)` : text;
}

// The value of a promise, or a failure after so many seconds.
export async function within(promise, what, seconds = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    const fail = () => reject(new Failed(`not within ${seconds} s: ${what}`));
    timer = setTimeout(fail, seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

// Servers belong to run.py, which ends them whatever becomes of this process.
export const storm = {
  echo: (...options) => ask({ ask: "echo", options }),
  chat: (address) => ask({ ask: "chat", address }),
  stop: ({ pid }) => ask({ ask: "stop", pid }),
  kill: ({ pid }) => ask({ ask: "kill", pid }),
  descriptors: async ({ pid }) => (await ask({ ask: "descriptors", pid })).count,
};

async function ask(request) {
  const answer = new Promise((resolve) => answers.push(resolve));
  say(request);
  const { error, ...rest } = await within(answer, `answer to ${request.ask}`, 2 * PATIENCE);
  expect(!error, error);
  return rest;
}

function say(object) {
  process.stdout.write(JSON.stringify(object) + "\n");
}

export async function main(finish = async () => {}) {
  const names = process.argv.slice(2);
  if (names[0] === "--list") {
    return say(checks.map(({ name, limit, beside }) => ({ name, limit, beside })));
  }
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => answers.shift()(JSON.parse(line)));
  // Nobody is left to report to.
  lines.on("close", () => process.exit(1));
  for (const { name, run, limit } of checks.filter(({ name }) => names.includes(name))) {
    try {
      const remark = await within(run(storm), "the end of the check", limit);
      say({ check: name, failure: null, remark: remark ?? "" });
    } catch (error) {
      const text = error instanceof Failed ? error.message : error.stack;
      say({ check: name, failure: stripVTControlCharacters(text), remark: "" });
    }
  }
  await finish();
  // Connections of a failed check would keep the process.
  process.exit();
}
