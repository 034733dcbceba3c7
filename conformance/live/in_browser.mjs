// Storm against Chromium: the chat example's page in tabs, and the echo from a script.

import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { check, expectEqual, load, main } from "./script.mjs";

const { chromium } = load("playwright-core");
const PATIENCE = 15_000;
const MIB = 1 << 20;

// Nothing but the pages of these checks is to use the network.
const ARGUMENTS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

let browser;
let profile;

async function start() {
  profile = mkdtempSync(join(process.env.LIVE_MODULES, "profile-"));
  const executablePath = process.env.LIVE_CHROMIUM;
  // Certificates of a server's own making are good enough here.
  const options = { executablePath, args: ARGUMENTS, ignoreHTTPSErrors: true };
  browser = await chromium.launchPersistentContext(profile, options);
  browser.setDefaultTimeout(PATIENCE);
}

async function tab(url) {
  if (!browser) await start();
  const page = await browser.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(error.message));
  await page.goto(url);
  return page;
}

// A tab of the chat, once it takes part under its name.
async function guest(server, name) {
  const page = await tab(server.url);
  await page.locator("#state.open").waitFor();
  await page.fill("#name", name);
  await page.dispatchEvent("#name", "change");
  await noted(page, `is now ${name}`);
  return page;
}

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

function heard(page, author, text) {
  const line = page.locator("#log li", { has: page.locator(`b:text-is("${author}")`) });
  return line.filter({ hasText: text }).waitFor();
}

function noted(page, text) {
  return page.locator("#log li.note").filter({ hasText: text }).waitFor();
}

async function leave(...pages) {
  for (const page of pages) {
    expectEqual(page.complaints, [], "errors in the page");
    await page.close();
  }
}

check("two_tabs_talk", async (storm) => {
  const server = await storm.chat();
  const ada = await guest(server, "Ada");
  const bob = await guest(server, "Bob");
  for (const [from, author, text] of [
    [ada, "Ada", "Hello, Bob"],
    [bob, "Bob", "Gr\u00fc\u00dfe \u{1f44b} <b>not bold</b>"],
    [ada, "Ada", "x".repeat(2000)],
  ]) {
    await say(from, text);
    await Promise.all([ada, bob].map((page) => heard(page, author, text)));
  }
  expectEqual(await ada.locator("#log li.chat").count(), 3, "messages in the first tab");
  await leave(ada, bob);
});

check("what_a_guest_sends_breaks_no_tab", async (storm) => {
  const server = await storm.chat();
  const ada = await guest(server, "Ada");
  const mallory = await guest(server, "Mallory");
  const strange = ["{}", "null", '{"from":null}', '{"type":"chat"}', "unfinished {", "<img src=x onerror=alert(1)>"];
  for (const text of strange) {
    await say(mallory, text);
    await Promise.all([ada, mallory].map((page) => heard(page, "Mallory", text)));
  }
  await say(ada, "all is well");
  await Promise.all([ada, mallory].map((page) => heard(page, "Ada", "all is well")));
  await leave(ada, mallory);
});

check("leaving_tab_is_announced", async (storm) => {
  const server = await storm.chat();
  const ada = await guest(server, "Ada");
  const bob = await guest(server, "Bob");
  const eve = await guest(server, "Eve");
  await noted(ada, "is now Eve");
  await leave(eve);
  await Promise.all([ada, bob].map((page) => noted(page, "Eve left")));
  await leave(ada, bob);
});

check("page_reconnects_to_a_restarted_server", async (storm) => {
  const server = await storm.chat();
  const ada = await guest(server, "Ada");
  const bob = await guest(server, "Bob");
  await say(ada, "before");
  await heard(bob, "Ada", "before");
  await storm.kill(server);
  await Promise.all([ada, bob].map((page) => page.locator("#state:not(.open)").waitFor()));
  await storm.chat(new URL(server.url).host);
  await Promise.all([ada, bob].map((page) => page.locator("#state.open").waitFor()));
  await say(bob, "after");
  await heard(ada, "Bob", "after");
  await leave(ada, bob);
});

// A page of its own sends all sizes to an echo; what it saw.
async function echoFromAScript(storm, ...options) {
  const [chat, echo] = [await storm.chat(), await storm.echo(...options)];
  const page = await tab(chat.url);
  const result = await page.evaluate(async ({ url, sizes }) => {
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    const next = (event) => new Promise((resolve, reject) => {
      socket.addEventListener(event, resolve, { once: true });
      if (event !== "close") socket.addEventListener("close", reject, { once: true });
    });
    await next("open");
    const wrong = [];
    for (const size of sizes) {
      const text = "\u00e4".repeat(size / 2);
      socket.send(text);
      if ((await next("message")).data !== text) wrong.push(`text of ${size}`);
      const bytes = new Uint8Array(size).map((_, at) => at * 7 + at / 251);
      socket.send(bytes);
      const echoed = new Uint8Array((await next("message")).data);
      if (echoed.length !== size || echoed.some((byte, at) => byte !== bytes[at])) {
        wrong.push(`binary of ${size}`);
      }
    }
    const { extensions } = socket;
    socket.close(4321, "done");
    const { code, reason, wasClean } = await next("close");
    return { wrong, extensions, code, reason, wasClean };
  }, { url: echo.url, sizes: [0, 2, 126, 65_536, MIB] });
  await leave(page);
  return result;
}

const WELL = { wrong: [], code: 4321, reason: "done", wasClean: true };

// The browser offers permessage-deflate, as it always does.
check("echo_from_a_script", async (storm) => {
  const { extensions, ...result } = await echoFromAScript(storm);
  expectEqual(result, WELL, "what the page saw");
  expectEqual(extensions, "", "what was agreed on");
});

check("compression_in_the_browsers_own_terms", async (storm) => {
  const alone = "; server_no_context_takeover; client_no_context_takeover";
  for (const [mode, terms, ...more] of [
    ["context", ""], ["no-context", alone], ["context", "", "--tls"],
    ["default", "; server_no_context_takeover"],
  ]) {
    const { extensions, ...result } = await echoFromAScript(storm, "--deflate", mode, ...more);
    expectEqual(result, WELL, `what the page saw, ${mode} ${more}`);
    expectEqual(extensions, `permessage-deflate${terms}`, "what was agreed on");
  }
});

check("stopping_server_says_1001", async (storm) => {
  const [chat, echo] = [await storm.chat(), await storm.echo()];
  const page = await tab(chat.url);
  await page.evaluate((url) => {
    const socket = new WebSocket(url);
    window.ended = new Promise((resolve) => {
      socket.onclose = ({ code, wasClean }) => resolve({ code, wasClean });
    });
    return new Promise((resolve) => { socket.onopen = () => resolve(); });
  }, echo.url);
  const stopped = storm.stop(echo);
  expectEqual(await page.evaluate(() => window.ended), { code: 1001, wasClean: true }, "farewell");
  expectEqual((await stopped).code, 0, "exit status");
  await leave(page);
});

await main(async () => {
  await browser?.close();
  if (profile) rmSync(profile, { recursive: true, force: true });
});
