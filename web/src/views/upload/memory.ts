/**
 * What the browser remembers of files under way, for after a reload: what each is known by, and a handle to open it
 * again where the browser gives one. Which uploads wait for their file, the API knows.
 */
interface Remembered {
  id: string;
  print: string;
  handle?: FileSystemFileHandle;
}

/** A handle that may be asked for leave to read: not in TypeScript's library yet. */
export type Handle = FileSystemFileHandle & {
  requestPermission(descriptor: { mode: "read" }): Promise<PermissionState>;
};

const STORE = "uploads";

export async function remember(one: Remembered): Promise<void> {
  await run("readwrite", (store) => store.put(one));
}

export async function forget(id: string): Promise<void> {
  await run("readwrite", (store) => store.delete(id));
}

export async function recall(id: string): Promise<Remembered | undefined> {
  return run<Remembered | undefined>("readonly", (store) => store.get(id));
}

/** Undefined also where the browser keeps nothing, as in some private windows: then files are chosen again. */
async function run<Result>(
  mode: IDBTransactionMode,
  act: (store: IDBObjectStore) => IDBRequest,
): Promise<Result | undefined> {
  try {
    const database = await opened();
    try {
      return (await settled(act(database.transaction(STORE, mode).objectStore(STORE)))) as Result;
    } finally {
      database.close();
    }
  } catch {
    return undefined;
  }
}

function opened(): Promise<IDBDatabase> {
  const request = indexedDB.open("rowmill", 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
  return settled(request);
}

function settled<Result>(request: IDBRequest<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
