/** The picture of a row: shown, sent straight to the storage, taken away. */
import { useRef, useState } from "preact/hooks";
import { api, type Schema } from "../../api";
import { bytes } from "../../format";
import { Offline, Problem } from "../../http";
import { usePoll } from "../../live";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/button";
import { Failure, Notice } from "../../ui/notice";

const KINDS = ["image/jpeg", "image/png", "image/webp", "image/gif"] as const;
const LARGEST = 5_000_000;

interface Props {
  name: string;
  /** The row's key, as its address has it. */
  at: string;
  writes: boolean;
}

export function Picture({ name, at, writes }: Props) {
  const path = { name, key: at };
  const { value, error, refresh } = usePoll("/v1/datasets/{name}/rows/{key}/picture", { path });
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState<Problem | Offline | string | null>(null);
  const chosen = useRef<HTMLInputElement>(null);
  const none = error instanceof Problem && error.status === 404;

  async function act(doing: () => Promise<unknown>, done: string): Promise<void> {
    setBusy(true);
    setFailed(null);
    try {
      await doing();
      announce(done);
      refresh();
    } catch (failure) {
      setFailed(
        failure instanceof Problem || failure instanceof Offline ? failure : String((failure as Error).message),
      );
    }
    setBusy(false);
  }
  function pick(): void {
    const file = chosen.current?.files?.[0];
    if (!file) return;
    const kind = KINDS.find((one) => one === file.type);
    if (!kind) setFailed("A picture is a JPEG, PNG, WebP or GIF.");
    else if (file.size > LARGEST) setFailed(`A picture may have ${bytes(LARGEST)}; this one has ${bytes(file.size)}.`);
    else act(() => send(path, file, kind), "The picture is there.");
  }

  return (
    <section class="picture" aria-label="Picture">
      {value && !none && <img src={value.url} alt="Of this row" />}
      {none && <p class="quiet">No picture.</p>}
      {error && !none && <Failure error={error} />}
      {typeof failed === "string" ? <Notice kind="error">{failed}</Notice> : <Failure error={failed} />}
      {writes && (
        <div class="buttons">
          <input
            ref={chosen}
            type="file"
            class="unseen"
            aria-label="Choose a picture"
            tabIndex={-1}
            accept={KINDS.join(",")}
            onChange={pick}
          />
          <Button small busy={busy} onClick={() => chosen.current?.click()}>
            {value && !none ? "Another picture" : "Add a picture"}
          </Button>
          {value && !none && (
            <Button
              small
              kind="danger"
              onClick={() =>
                act(() => api.delete("/v1/datasets/{name}/rows/{key}/picture", { path }), "The picture is gone.")
              }
            >
              Take it away
            </Button>
          )}
        </div>
      )}
    </section>
  );
}

async function send(
  path: { name: string; key: string },
  file: File,
  kind: Schema<"NewPicture">["content_type"],
): Promise<void> {
  const body = { content_type: kind, size: file.size };
  const awaited = await api.post("/v1/datasets/{name}/rows/{key}/picture", { path, body });
  const form = new FormData();
  for (const [name, value] of Object.entries(awaited.upload.fields)) form.append(name, String(value));
  form.append("file", file);
  const answer = await fetch(awaited.upload.url, { method: "POST", body: form }).catch(() => null);
  if (!answer?.ok) throw new Error("The storage did not take the picture. Try again.");
  await api.put("/v1/datasets/{name}/rows/{key}/picture", { path, body: { id: awaited.id } });
}
