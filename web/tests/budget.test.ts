// @vitest-environment node
import { gzipSync } from 'node:zlib';
import { build, type Rolldown } from 'vite';
import { expect, test } from 'vitest';

/**
 * What a page may weigh, in bytes after gzip: its own script with everything it loads at once.
 * Chunks that are imported on demand do not count.
 */
const budgets: Record<string, number> = {
  viewer: 25_000,
  broadcaster: 160_000,
  dashboard: 200_000,
};

async function bundle(): Promise<Map<string, Rolldown.OutputChunk>> {
  const output = (await build({
    configFile: new URL('../vite.config.ts', import.meta.url).pathname,
    mode: 'production',
    logLevel: 'error',
    build: { write: false },
  })) as Rolldown.RolldownOutput;
  const chunks = output.output.filter((file) => file.type === 'chunk');
  return new Map(chunks.map((chunk) => [chunk.fileName, chunk]));
}

function weight(entry: Rolldown.OutputChunk, chunks: Map<string, Rolldown.OutputChunk>): number {
  const seen = new Set<string>();
  const queue = [entry.fileName];
  let bytes = 0;
  for (let name = queue.pop(); name; name = queue.pop()) {
    const chunk = chunks.get(name);
    if (!chunk || seen.has(name)) continue;
    seen.add(name);
    bytes += gzipSync(chunk.code).byteLength;
    queue.push(...chunk.imports);
  }
  return bytes;
}

test('every page stays within its byte budget', async () => {
  const chunks = await bundle();
  for (const [name, budget] of Object.entries(budgets)) {
    const entry = [...chunks.values()].find((chunk) => chunk.isEntry && chunk.name === name);
    expect(entry, `the build has no entry ${name}`).toBeDefined();
    if (entry) expect(weight(entry, chunks), `gzip bytes of ${name}`).toBeLessThanOrEqual(budget);
  }
}, 120_000);
