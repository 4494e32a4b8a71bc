/**
 * Drives real browsers for pytest: one JSON request a line on standard input, one JSON reply a line on standard output.
 *
 * A request is {id, op, ...arguments}; its reply is {id, value} or {id, error}. Requests run at the same time and are
 * answered as they end. Pages and browsers are named by the caller. The process ends, and the browsers with it, when
 * standard input closes.
 */

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import puppeteer from 'puppeteer-core';

const AXE = readFileSync(new URL('./node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

const ENGINES = {
  chromium: {
    browser: 'chrome',
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-dev-shm-usage',
      '--use-fake-device-for-media-stream',
      '--use-fake-ui-for-media-stream',
      '--auto-select-desktop-capture-source=Entire screen',
      '--disable-features=WebRtcHideLocalIpsWithMdns',
      '--allow-loopback-in-peer-connection',
      '--autoplay-policy=no-user-gesture-required',
      // Pages that are not in front still draw and time as if they were.
      '--disable-background-timer-throttling',
      '--disable-backgrounding-occluded-windows',
      '--disable-renderer-backgrounding',
    ],
  },
  firefox: {
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    args: [],
    extraPrefsFirefox: {
      'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true,
      'media.peerconnection.ice.loopback': true,
      'media.peerconnection.ice.obfuscate_host_addresses': false,
      'media.autoplay.default': 0,
      'media.gmp-manager.updateEnabled': false,
      'app.update.enabled': false,
      'datareporting.policy.dataSubmissionEnabled': false,
      'network.captive-portal-service.enabled': false,
      'network.connectivity-service.enabled': false,
    },
  },
};

const browsers = new Map();
const pages = new Map();

function page(name) {
  const found = pages.get(name);
  if (!found) throw new Error(`no page ${name}`);
  return found;
}

/** Keeps every peer connection of a page where tests can ask it for its figures. */
function keepConnections() {
  const Native = window.RTCPeerConnection;
  window.connections = [];
  window.RTCPeerConnection = class RTCPeerConnection extends Native {
    constructor(...given) {
      super(...given);
      window.connections.push(this);
    }
  };
}

/** The page, or the frame in it whose address contains `frame`. */
function target({ name, frame }) {
  if (!frame) return page(name);
  const found = page(name).frames().find((candidate) => candidate.url().includes(frame));
  if (!found) throw new Error(`no frame ${frame} in ${name}`);
  return found;
}

/** `(source)(...args)` as an expression: the page's own content policy does not apply to it. */
function call(source, args) {
  return `(${source})(...${JSON.stringify(args)})`;
}

const operations = {
  async launch({ key, browser, prefix }) {
    const engine = ENGINES[browser];
    // The prefix runs the browser in another network namespace.
    const executablePath = prefix ?? engine.executablePath;
    const launched = await puppeteer.launch({ ...engine, executablePath, headless: true, pipe: browser === 'chromium' });
    browsers.set(key, launched);
    return launched.version();
  },

  /** A page in a context of its own: cookies and storage are shared with nobody. */
  async open({ browser, name, width, height }) {
    const context = await browsers.get(browser).createBrowserContext();
    const opened = await context.newPage();
    const problems = [];
    opened.on('pageerror', (error) => problems.push(`error: ${error?.stack ?? error}`));
    opened.on('console', (message) => {
      if (message.type() === 'error') problems.push(`console: ${message.text()} ${message.location()?.url ?? ''}`);
    });
    await opened.evaluateOnNewDocument(keepConnections);
    opened.on('dialog', (dialog) => dialog.accept());
    await opened.setViewport({ width, height });
    opened.setDefaultTimeout(15_000);
    pages.set(name, Object.assign(opened, { problems, context }));
  },

  async close({ name }) {
    const closing = pages.get(name);
    pages.delete(name);
    await closing?.context.close();
  },

  async goto({ name, url }) {
    const response = await page(name).goto(url, { waitUntil: 'domcontentloaded' });
    return response?.status() ?? 0;
  },

  evaluate: ({ source, args, ...where }) => target(where).evaluate(call(source, args)),
  click: ({ selector, ...where }) => target(where).locator(selector).click(),
  hover: ({ selector, ...where }) => target(where).locator(selector).hover(),
  fill: ({ selector, text, ...where }) => target(where).locator(selector).fill(text),
  press: ({ name, key }) => page(name).keyboard.press(key),
  wait: ({ selector, hidden, ...where }) =>
    target(where)
      .waitForSelector(selector, hidden ? { hidden: true } : { visible: true })
      .then(() => true),
  text: ({ selector, ...where }) => target(where).$eval(selector, (element) => element.innerText),
  attribute: ({ selector, attribute, ...where }) =>
    target(where).$eval(selector, (element, key) => element.getAttribute(key), attribute),
  value: ({ selector, ...where }) => target(where).$eval(selector, (element) => element.value),
  count: async ({ selector, ...where }) => (await target(where).$$(selector)).length,
  url: ({ name }) => page(name).url(),
  problems: ({ name }) => page(name).problems.splice(0),
  viewport: ({ name, width, height }) => page(name).setViewport({ width, height }),

  theme: ({ name, theme }) =>
    page(name).emulateMediaFeatures([
      { name: 'prefers-color-scheme', value: theme },
      { name: 'prefers-reduced-motion', value: 'reduce' },
    ]),

  async screenshot({ name, path, fullPage }) {
    await page(name).screenshot({ path, fullPage, captureBeyondViewport: fullPage });
  },

  /** Violations of WCAG 2.2 A and AA and of the best practices, each with the elements it concerns. */
  async axe({ name }) {
    const tested = page(name);
    if (!(await tested.evaluate('typeof axe === "object"'))) await tested.evaluate(`${AXE};undefined`);
    const { violations } = await tested.evaluate('axe.run(document, { resultTypes: ["violations"] })');
    return violations.map(({ id, help, nodes }) => ({
      id,
      help,
      elements: nodes.map(({ target, failureSummary }) => `${target.join(' ')}: ${failureSummary}`),
    }));
  },
};

async function answer(line) {
  const { id, op, ...given } = JSON.parse(line);
  let reply;
  try {
    reply = { id, value: (await operations[op](given)) ?? null };
  } catch (error) {
    reply = { id, error: String(error?.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}

const requests = createInterface({ input: process.stdin });
requests.on('line', answer);
requests.on('close', async () => {
  await Promise.allSettled([...browsers.values()].map((browser) => browser.close()));
  process.exit(0);
});
