/**
 * The chunks of an upload as squares in their colours, drawn on a canvas: thousands cost no more than ten. Beyond what
 * fits a square stands for several, in the colour of the worst. The keyboard goes through them as along a slider.
 */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ask, type Schema } from "../../api";
import { count, counted, duration, exactly } from "../../format";
import { Offline } from "../../http";
import type { Upload } from "./verbs";

type Chunk = Schema<"Chunk">;
type Page = { items: Chunk[]; cursor: string | null; etag: string | null };
type Look = "queued" | "loaded" | "rejects" | "dead" | "canceled";

const WORST: Look[] = ["loaded", "rejects", "canceled", "queued", "dead"];
const COLOURS: Record<Look, string> = {
  queued: "--chunk-waits",
  loaded: "--chunk-in",
  rejects: "--chunk-mixed",
  dead: "--chunk-dead",
  canceled: "--chunk-off",
};
const WORDS: Record<Look, string> = {
  queued: "waiting or in hand",
  loaded: "loaded",
  rejects: "loaded, with rejects",
  dead: "given up",
  canceled: "canceled",
};
/** Of a pass that only checks: nothing of it is in a table. */
const CHECKED: Partial<Record<Look, string>> = { loaded: "checked", rejects: "checked, with rejects" };
const SIZES = [20, 16, 12, 9, 7, 5]; // px of a square, its gap included
const TALLEST = 180; // px
const PAUSE = 1500; // ms between looks

export function look(chunk: Chunk): Look {
  return chunk.state === "loaded" && chunk.rejected > 0 ? "rejects" : chunk.state;
}

export function Chunks({ upload, over }: { upload: Upload; over: boolean }) {
  const chunks = useChunks(upload, over);
  if (!chunks.length) return null;
  const checks = upload.state === "needs_review" || chunks.some((one) => one.valid > 0);
  const words = checks ? { ...WORDS, ...CHECKED } : WORDS;
  const counts = new Map<Look, number>();
  for (const one of chunks) counts.set(look(one), (counts.get(look(one)) ?? 0) + 1);
  return (
    <section class="card chunks">
      <h2>{counted(chunks.length, "chunk")}</h2>
      <Grid chunks={chunks} words={words} />
      <ul class="legend">
        {WORST.filter((one) => counts.has(one)).map((one) => (
          <li key={one}>
            <i class={`square ${one}`} aria-hidden="true" /> {count(counts.get(one)!)} {words[one]}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Grid({ chunks, words }: { chunks: Chunk[]; words: Record<Look, string> }) {
  const here = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const [at, setAt] = useState<number | null>(null);
  const [theme, setTheme] = useState(0);
  const plan = arrange(chunks.length, width);
  useLayoutEffect(() => {
    const watcher = new ResizeObserver(([seen]) => seen && setWidth(Math.floor(seen.contentRect.width)));
    watcher.observe(here.current!.parentElement!);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => setTheme((old) => old + 1);
    dark.addEventListener("change", changed);
    return () => {
      watcher.disconnect();
      dark.removeEventListener("change", changed);
    };
  }, []);
  useEffect(() => {
    if (width) draw(here.current!, chunks, plan, at);
  }, [chunks, width, at, theme]);
  const last = Math.ceil(chunks.length / plan.each) - 1;
  const go = (to: number) => setAt(Math.max(0, Math.min(last, to)));
  const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: plan.across, ArrowUp: -plan.across };
  return (
    <div class="grid">
      <canvas
        ref={here}
        role="slider"
        tabIndex={0}
        aria-label="Chunks"
        aria-valuemin={1}
        aria-valuemax={last + 1}
        aria-valuenow={(at ?? 0) + 1}
        aria-valuetext={told(chunks, words, plan.each, at ?? 0)}
        onFocus={() => go(at ?? 0)}
        onBlur={() => setAt(null)}
        onPointerMove={(event) => {
          const column = Math.floor(event.offsetX / plan.size);
          const found = column + Math.floor(event.offsetY / plan.size) * plan.across;
          setAt(column < plan.across && found <= last ? found : null);
        }}
        onPointerLeave={() => setAt(null)}
        onKeyDown={(event) => {
          const step = steps[event.key];
          if (step !== undefined) go((at ?? 0) + step);
          else if (event.key === "Home") go(0);
          else if (event.key === "End") go(last);
          else return;
          event.preventDefault();
        }}
      />
      <p class="told quiet">
        {at === null ? "Point at a square, or use the arrow keys." : told(chunks, words, plan.each, at)}
      </p>
    </div>
  );
}

interface Plan {
  size: number;
  across: number;
  /** How many chunks a square stands for. */
  each: number;
}

function arrange(chunks: number, width: number): Plan {
  for (const size of SIZES) {
    const across = Math.max(1, Math.floor(width / size));
    if (Math.ceil(chunks / across) * size <= TALLEST) return { size, across, each: 1 };
  }
  const size = SIZES.at(-1)!;
  const across = Math.max(1, Math.floor(width / size));
  return { size, across, each: Math.ceil(chunks / (across * Math.floor(TALLEST / size))) };
}

function draw(canvas: HTMLCanvasElement, chunks: Chunk[], { size, across, each }: Plan, at: number | null): void {
  const squares = Math.ceil(chunks.length / each);
  const [wide, tall] = [Math.min(squares, across) * size, Math.ceil(squares / across) * size];
  const scale = devicePixelRatio;
  canvas.width = wide * scale;
  canvas.height = tall * scale;
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${tall}px`;
  const style = getComputedStyle(canvas);
  const colours = Object.fromEntries(WORST.map((one) => [one, style.getPropertyValue(COLOURS[one])]));
  const brush = canvas.getContext("2d")!;
  const gap = size > 8 ? 2 : 1;
  brush.scale(scale, scale);
  for (let place = 0; place < squares; place++) {
    let worst = 0;
    for (const one of chunks.slice(place * each, (place + 1) * each)) worst = Math.max(worst, WORST.indexOf(look(one)));
    brush.fillStyle = colours[WORST[worst]!]!;
    const [x, y] = [(place % across) * size, Math.floor(place / across) * size];
    brush.fillRect(x + gap / 2, y + gap / 2, size - gap, size - gap);
    if (place !== at) continue;
    brush.strokeStyle = style.color;
    brush.lineWidth = 2;
    brush.strokeRect(x + 1, y + 1, size - 2, size - 2);
  }
}

function told(chunks: Chunk[], words: Record<Look, string>, each: number, square: number): string {
  const these = chunks.slice(square * each, (square + 1) * each);
  const [first] = these;
  if (!first) return "";
  const sum = (name: "records" | "rejected" | "attempts") => these.reduce((all, one) => all + one[name], 0);
  const name = each === 1 ? `Chunk ${count(first.n)}` : `Chunks ${count(first.n)} to ${count(these.at(-1)!.n)}`;
  const states = [...new Set(these.map((one) => words[look(one)]))].join(", ");
  const rejects = sum("rejected") ? `, ${count(sum("rejected"))} rejected` : "";
  const why = each === 1 && first.error ? `: ${first.error}` : "";
  const where = `from line ${count(first.first_line)}`;
  return `${name}: ${states}, ${counted(sum("records"), "record")} ${where}${rejects}, ${counted(sum("attempts"), "attempt")}${why}${times(these)}`;
}

/** When the first of them was begun and how long it was until the last was over, as far as that is known. */
function times(these: Chunk[]): string {
  const begun = these.flatMap((one) => one.started_at ?? []).sort()[0];
  const over = these.every((one) => one.finished_at)
    ? these
        .map((one) => one.finished_at!)
        .sort()
        .at(-1)!
    : null;
  if (begun && over) {
    return `; begun ${exactly(begun)}, took ${duration((Date.parse(over) - Date.parse(begun)) / 1000)}`;
  }
  if (begun) return `; begun ${exactly(begun)}`;
  return over ? `; over ${exactly(over)}` : "";
}

/** All chunks, looked at again when the upload has moved; pages of which nothing is under way are not asked again. */
function useChunks(upload: Upload, over: boolean): Chunk[] {
  const [chunks, setChunks] = useState<Chunk[]>([]);
  const pages = useRef<Page[]>([]);
  const stop = useRef<AbortController | null>(null);
  const running = useRef(false);
  const again = useRef(false);
  const state = useRef("");
  const moved = `${upload.state} ${upload.chunks_total} ${upload.chunks_done} ${upload.rejected} ${over}`;
  useEffect(() => {
    stop.current = new AbortController();
    return () => stop.current!.abort();
  }, []);
  useEffect(() => {
    async function follow(): Promise<void> {
      again.current = running.current;
      if (running.current) return;
      running.current = true;
      const { signal } = stop.current!;
      try {
        const entered = state.current !== upload.state; // a second pass, or an undo, begins again with all of them
        state.current = upload.state;
        if (await refetch(upload.id, pages.current, entered, signal))
          setChunks(pages.current.flatMap((page) => page.items));
        await new Promise((done) => setTimeout(done, over ? 0 : PAUSE));
      } catch (error) {
        // The upload's own poll says what is wrong. Where nobody answered there may be no change that asks again.
        again.current ||= error instanceof Offline;
        await new Promise((done) => setTimeout(done, PAUSE));
      }
      running.current = false;
      if (again.current && !signal.aborted) follow();
    }
    follow();
  }, [moved]);
  return chunks;
}

/** Whether anything of the pages, which it changes in place, is another now. */
async function refetch(upload_id: string, pages: Page[], all: boolean, signal: AbortSignal): Promise<boolean> {
  let changed = false;
  let cursor: string | null = null;
  for (let place = 0; ; place++) {
    const held = pages[place];
    if (!all && held?.cursor && held.items.every((one) => one.state === "loaded")) {
      cursor = held.cursor;
      continue;
    }
    const query = { limit: 1000, ...(cursor && { cursor }) };
    const etag = held?.etag ?? null;
    const reply = await ask("get", "/v1/uploads/{upload_id}/chunks", { path: { upload_id }, query, etag, signal });
    if (reply.value) {
      pages[place] = { items: reply.value.items, cursor: reply.value.next_cursor, etag: reply.etag };
      changed = true;
    }
    cursor = pages[place]!.cursor;
    if (!cursor) return changed;
  }
}
