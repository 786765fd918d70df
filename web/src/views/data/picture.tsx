/** The picture of a row: shown, sent straight to the storage, taken away. */
import { useRef, useState } from "preact/hooks";
import { useDoing } from "../../act";
import { api, type Schema } from "../../api";
import { bytes } from "../../format";
import { Problem } from "../../http";
import { usePoll } from "../../live";
import { post } from "../../storage";
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
  const { busy, error: refused, act } = useDoing(refresh);
  const [wrong, setWrong] = useState<string | null>(null);
  const chosen = useRef<HTMLInputElement>(null);
  const none = error instanceof Problem && error.status === 404;

  function pick(): void {
    const { current: control } = chosen;
    const file = control?.files?.[0];
    if (!control || !file) return;
    control.value = ""; // the same file may be chosen again
    const kind = KINDS.find((one) => one === file.type);
    const size = `A picture may have ${bytes(LARGEST)}; this one has ${bytes(file.size)}.`;
    setWrong(kind ? (file.size > LARGEST ? size : null) : "A picture is a JPEG, PNG, WebP or GIF.");
    if (kind && file.size <= LARGEST) act("send", () => send(path, file, kind), "The picture is there.");
  }

  return (
    <section class="picture" aria-label="Picture">
      {value && !none && <img src={value.url} alt="Of this row" />}
      {none && <p class="quiet">No picture.</p>}
      {error && !none && <Failure error={error} />}
      {wrong ? <Notice kind="error">{wrong}</Notice> : <Failure error={refused} />}
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
          <Button small busy={busy === "send"} onClick={() => chosen.current?.click()}>
            {value && !none ? "Another picture" : "Add a picture"}
          </Button>
          {value && !none && (
            <Button
              small
              kind="danger"
              busy={busy === "delete"}
              onClick={() =>
                act(
                  "delete",
                  () => api.delete("/v1/datasets/{name}/rows/{key}/picture", { path }),
                  "The picture is gone.",
                )
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
  await post(awaited.upload.url, awaited.upload.fields, file);
  await api.put("/v1/datasets/{name}/rows/{key}/picture", { path, body: { id: awaited.id } });
}
