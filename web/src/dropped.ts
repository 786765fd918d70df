/** Files that are dropped anywhere on a view, and handed from the view they fell on to the one that sends them. */
import { signal } from "@preact/signals";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { user } from "./session";

export interface Picked {
  file: File;
  /** Opens the file again after a reload; browsers that have none give it of dropped files. */
  handle?: FileSystemFileHandle;
}

/** On their way to the upload view. */
export const handed = signal<Picked[]>([]);

// Files are somebody's: whoever signs in next gets none of them.
user.subscribe(() => {
  handed.value = [];
});

// On a view that takes none the browser would show the file instead of the page, and end what is being sent.
for (const kind of ["dragover", "drop"] as const)
  addEventListener(kind, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  });

/** Take what is dropped while the view is shown; whether files are held over it now. Folders are left out. */
export function useDrop(take: (picked: Picked[]) => void): boolean {
  const [over, setOver] = useState(false);
  const latest = useRef(take);
  latest.current = take;
  // Before anything of the view can be seen: what falls on it earlier would be lost, or shown by the browser.
  useLayoutEffect(() => {
    const stop = new AbortController();
    const on = (kind: "dragover" | "dragleave" | "drop", act: (event: DragEvent) => void) =>
      addEventListener(kind, (event) => event.dataTransfer?.types.includes("Files") && act(event), stop);
    on("dragover", (event) => {
      event.dataTransfer!.dropEffect = "copy";
      setOver(true);
    });
    on("dragleave", (event) => event.relatedTarget === null && setOver(false));
    on("drop", async (event) => {
      setOver(false);
      // All of them at once: the list is empty after the first await.
      const found = [...event.dataTransfer!.items].filter((one) => one.kind === "file").map(taken);
      const picked = (await Promise.all(found)).flatMap((one) => one ?? []);
      if (picked.length && !stop.signal.aborted) latest.current(picked);
    });
    return () => stop.abort();
  }, []);
  return over;
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
