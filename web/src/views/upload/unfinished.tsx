/** Uploads that still wait for their file, such as those that a reload or a crash cut off: to go on with, or to give up. */
import { useState } from "preact/hooks";
import { ago, bytes, legible } from "../../format";
import { Offline, Problem } from "../../http";
import { usePages } from "../../live";
import { Button } from "../../ui/button";
import type { Upload } from "../watch/verbs";
import { Unreadable } from "./hash";
import { type Handle, recall } from "./memory";
import { discard, items, takeUp } from "./queue";

export function Unfinished() {
  const waiting = usePages("/v1/uploads", { query: { state: "awaiting_upload", limit: 20 } });
  const [gone, setGone] = useState<string[]>([]);
  const left = waiting.items.filter((one) => !gone.includes(one.id) && !items.value.some((item) => item.id === one.id));
  // What this tab has sent in the meantime is listed until it is asked for again.
  const open = left.filter((one) => !known.has(one.id));
  for (const item of items.value) if (item.id) known.add(item.id);
  if (!open.length) return null;
  return (
    <section class="card" aria-labelledby="unfinished">
      <h2 id="unfinished">Not sent to the end</h2>
      <ul class="queue">
        {open.map((one) => (
          <Row key={one.id} upload={one} onGone={() => setGone([...gone, one.id])} />
        ))}
      </ul>
      {!waiting.done && <Button onClick={waiting.more}>Show more</Button>}
    </section>
  );
}

/** Uploads that this tab has taken up. */
const known = new Set<string>();

function Row({ upload, onGone }: { upload: Upload; onGone: () => void }) {
  const [why, setWhy] = useState<string | null>(null);
  const [chooses, setChooses] = useState(false);
  const [busy, setBusy] = useState(false);
  const name = legible(upload.filename) || "the file";

  async function attempt(act: () => Promise<void>): Promise<void> {
    setBusy(true);
    setWhy(null);
    try {
      await act();
    } catch (error) {
      if (![Unreadable, Problem, Offline].some((kind) => error instanceof kind)) throw error;
      setWhy((error as Error).message);
    } finally {
      setBusy(false);
    }
  }
  /** With the file that the browser can open by itself, else with one that is chosen. */
  async function goOn(): Promise<void> {
    const handle = (await recall(upload.id))?.handle;
    const file = handle ? await opened(handle) : null;
    if (file) await takeUp(upload, file, handle);
    else setChooses(true);
  }
  return (
    <li>
      <div class="line">
        <span class="name">{legible(upload.filename) || "A file without a name"}</span>
        <span class="quiet">{upload.dataset}</span>
      </div>
      <div class="line">
        <span class="quiet count">
          {bytes(upload.bytes_total)}, begun {ago(upload.created_at)}
        </span>
        <span class="buttons">
          {chooses ? (
            <label class="button primary small">
              Choose {name}
              <input
                type="file"
                class="unseen"
                onChange={({ currentTarget: { files } }) => {
                  const file = files?.[0];
                  if (file) attempt(() => takeUp(upload, file));
                }}
              />
            </label>
          ) : (
            <Button small kind="primary" busy={busy} label={`Go on with ${name}`} onClick={() => attempt(goOn)}>
              Go on
            </Button>
          )}
          <Button
            small
            kind="danger"
            label={`Give up ${name}`}
            onClick={() => attempt(async () => discard(upload.id).then(onGone))}
          >
            Give up
          </Button>
        </span>
      </div>
      {chooses && !why && (
        <p class="quiet">What has been sent of it is kept. Choose the same file again for the rest.</p>
      )}
      {why && (
        <p class="wrong" role="alert">
          {why}
        </p>
      )}
    </li>
  );
}

/** Null where the browser is not let, or the file has moved. */
async function opened(handle: FileSystemFileHandle): Promise<File | null> {
  try {
    if ((await (handle as Handle).requestPermission({ mode: "read" })) !== "granted") return null;
    return await handle.getFile();
  } catch {
    return null;
  }
}
