/** SHA-256 as the API spells it. Browsers hash what is in memory, whole: so these are parts, never a file of any size. */

const ENDS = 1 << 20; // bytes of either end of a file that tell it from others

/** In base64. Throws Unreadable where the file has changed or gone since it was chosen. */
export async function sha256(bytes: Blob): Promise<string> {
  if (!globalThis.crypto?.subtle) throw new Unreadable("Browsers send files from pages over HTTPS only.");
  return base64(await crypto.subtle.digest("SHA-256", await read(bytes)));
}

/** What a file is known by when it is chosen again: its size and its ends. */
export async function print(file: Blob): Promise<string> {
  const ends = file.size > 2 * ENDS ? [file.slice(0, ENDS), file.slice(-ENDS)] : [file];
  return `${file.size} ${await sha256(new Blob(ends))}`;
}

export class Unreadable extends Error {}

/** The bytes, in memory. Throws Unreadable. */
export async function read(bytes: Blob): Promise<ArrayBuffer> {
  try {
    return await bytes.arrayBuffer();
  } catch {
    throw new Unreadable("The file has changed or gone since it was chosen. Choose it again.");
  }
}

function base64(digest: ArrayBuffer): string {
  return btoa(String.fromCharCode(...new Uint8Array(digest)));
}
