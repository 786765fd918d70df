import { defineConfig } from "vite";

declare const process: { env: Record<string, string | undefined> };

/** What `npm run dev` passes on: to the API that `source .rowmill/env` names. */
const api = process.env.ROWMILL_API;

export default defineConfig({
  base: "./",
  build: {
    outDir: "../chalicelib/web",
    emptyOutDir: true,
    assetsInlineLimit: 0, // the policy takes no data: URL
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
  server: {
    port: 5173,
    strictPort: true,
    proxy: api ? { "/v1": { target: api, changeOrigin: true }, "/docs": { target: api, changeOrigin: true } } : {},
  },
});
