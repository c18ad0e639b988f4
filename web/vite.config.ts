import { defineConfig } from "vitest/config";

/** Where `npm run dev` finds a running Salon. */
const server = "http://127.0.0.1:8000";

export default defineConfig({
  base: "./",
  // Worklets are files of their own: a strict `script-src 'self'` allows neither blob: nor data:.
  worker: { format: "es" },
  build: {
    outDir: "../src/salon/web",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: "index.html", client: "src/client/index.ts" },
      preserveEntrySignatures: "allow-extension",
      output: {
        entryFileNames: (chunk) =>
          chunk.name === "client" ? "client.js" : "assets/[name]-[hash].js",
      },
    },
  },
  server: {
    proxy: {
      "/api": server,
      "/health": server,
      "/rooms": server,
      "/iceservers": server,
      "/ws": { target: server, ws: true },
      "/webrtc": { target: server, ws: true },
    },
  },
  test: { environment: "node", include: ["test/**/*.test.ts"] },
});
