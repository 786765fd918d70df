/** Where files come from: dropped, or picked by a control that the keyboard reaches, too. */
import { useEffect, useId, useState } from "preact/hooks";

export interface Picked {
  file: File;
  /** Opens the file again after a reload; browsers that have none give it of dropped files. */
  handle?: FileSystemFileHandle;
}

interface Props {
  onChoose: (picked: Picked[]) => void;
  small?: boolean;
}

export function Choose({ onChoose, small }: Props) {
  const id = useId();
  const [over, setOver] = useState(false);
  useEffect(() => {
    // Beside the place, a dropped file would be shown by the browser instead of the page.
    const stay = (event: Event) => event.preventDefault();
    for (const kind of ["dragover", "drop"]) addEventListener(kind, stay);
    return () => {
      for (const kind of ["dragover", "drop"]) removeEventListener(kind, stay);
    };
  }, []);

  async function dropped(event: DragEvent): Promise<void> {
    event.preventDefault();
    setOver(false);
    // All of them at once: the list is empty after the first await.
    const found = [...(event.dataTransfer?.items ?? [])].filter((one) => one.kind === "file").map(taken);
    const picked = await Promise.all(found);
    if (picked.length) onChoose(picked.flatMap((one) => one ?? []));
  }

  return (
    <fieldset
      aria-label="Files to send"
      class={`choose${over ? " over" : ""}${small ? " small" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={dropped}
    >
      <input
        id={id}
        type="file"
        multiple
        class="unseen"
        onChange={(event) => {
          const { files } = event.currentTarget;
          onChoose([...(files ?? [])].map((file) => ({ file })));
          event.currentTarget.value = ""; // the same file may be chosen again
        }}
      />
      <label for={id} class={small ? "button plain" : "button primary"}>
        {small ? "Add files" : "Choose files"}
      </label>
      <p class="quiet">{small ? "or drop them here" : "or drop them here: CSV, TSV, Excel, also gzipped"}</p>
    </fieldset>
  );
}

interface Opens {
  getAsFileSystemHandle?: () => Promise<FileSystemHandle | null>;
}

/** Undefined for a folder. */
async function taken(item: DataTransferItem): Promise<Picked | undefined> {
  const entry = item.webkitGetAsEntry?.();
  const file = item.getAsFile();
  const handle = await (item as Opens).getAsFileSystemHandle?.().catch(() => null);
  if (entry?.isDirectory || !file) return undefined;
  return { file, handle: (handle as FileSystemFileHandle | null) ?? undefined };
}
