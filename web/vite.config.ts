import { resolve } from 'node:path';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import tailwindcss from '@tailwindcss/vite';
import { defineConfig, type Plugin } from 'vitest/config';

/** Where the control plane is while the pages are served from here. */
const SERVER = process.env.STAGECAST_URL ?? 'http://127.0.0.1:8080';

/** The HTML entry behind each page path. The dashboard owns every other path. */
const pages: Record<string, string> = {
  '/broadcaster': '/broadcaster.html',
  '/viewer': '/viewer.html',
};

/** In development, serve the pages at the same paths as the control plane does. */
function pagePaths(): Plugin {
  return {
    name: 'stagecast-page-paths',
    configureServer(server) {
      server.middlewares.use((request, _response, next) => {
        const [path = '', query] = (request.url ?? '').split('?');
        const page = pages[path];
        if (page) request.url = query ? `${page}?${query}` : page;
        next();
      });
    },
  };
}

const root = import.meta.dirname;

export default defineConfig({
  root,
  plugins: [pagePaths(), tailwindcss(), svelte()],
  resolve: {
    alias: {
      $ui: resolve(root, 'src/ui'),
      $api: resolve(root, 'src/api'),
      $media: resolve(root, 'src/media'),
    },
    // Svelte must resolve to its browser build when components run under Vitest.
    conditions: process.env.VITEST ? ['browser'] : undefined,
  },
  server: {
    port: 5173,
    proxy: {
      '/api': { target: SERVER },
      '/viewer/playback.json': { target: SERVER },
    },
  },
  build: {
    outDir: resolve(root, '../python/stagecast/web_dist'),
    emptyOutDir: true,
    assetsDir: 'assets',
    // Nothing is inlined as a data: URL, so that the content security policy stays strict.
    assetsInlineLimit: 0,
    target: ['chrome123', 'firefox121', 'safari17.5'],
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 400,
    rolldownOptions: {
      input: {
        dashboard: resolve(root, 'index.html'),
        broadcaster: resolve(root, 'broadcaster.html'),
        viewer: resolve(root, 'viewer.html'),
      },
    },
  },
  test: {
    include: ['src/**/*.test.ts', 'apps/**/*.test.ts', 'tests/**/*.test.ts'],
    environment: 'happy-dom',
    testTimeout: 30_000,
  },
});
