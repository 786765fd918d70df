/** What is around every view: where one can go, who is signed in, and whether the service answers. */
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import "./dropped";
import { online } from "./http";
import { usePoll } from "./live";
import { route } from "./router";
import { signOut, user } from "./session";
import { Announcer, announce } from "./ui/announce";
import { Mark } from "./ui/mark";

const PLACES: [href: string, words: string, isHere: (path: string) => boolean][] = [
  ["#/", "Uploads", (path) => path === "/" || path.startsWith("/uploads")],
  ["#/upload", "Upload", (path) => path === "/upload"],
  ["#/datasets", "Datasets", (path) => path.startsWith("/datasets")],
  ["#/settings", "Settings", (path) => path === "/settings"],
];

export function Frame({ children }: { children: ComponentChildren }) {
  const { path } = route.value;
  const main = useRef<HTMLElement>(null);
  const before = useRef(path);
  useEffect(() => {
    // As a browser does with a new page: the top of it, and the keyboard begins there.
    if (before.current !== path) {
      scrollTo(0, 0);
      main.current?.focus({ preventScroll: true });
    }
    before.current = path;
  }, [path]);
  return (
    <>
      <button type="button" class="button skip" onClick={() => main.current?.focus()}>
        To the content
      </button>
      <header class="top">
        <a class="brand" href="#/">
          <Mark /> Rowmill
        </a>
        <nav aria-label="Main">
          {PLACES.map(([href, words, isHere]) => (
            <a key={href} href={href} aria-current={isHere(path) ? "page" : undefined}>
              {words}
            </a>
          ))}
        </nav>
        <Leave />
      </header>
      {!online.value && <Lost />}
      <main id="main" ref={main} tabIndex={-1}>
        {children}
      </main>
      <Announcer />
    </>
  );
}

/** Goes with the next answer; a view that waits for somebody asks for none, so this does. */
function Lost() {
  usePoll("/v1/quota", {});
  return (
    <p class="offline" role="status">
      No connection to the service. What you see may be old; it goes on by itself.
    </p>
  );
}

function Leave() {
  const [busy, setBusy] = useState(false);
  async function leave(): Promise<void> {
    setBusy(true);
    try {
      await signOut();
      location.hash = "";
    } catch {
      announce("You are still signed in: the service cannot be reached.");
      setBusy(false);
    }
  }
  return (
    <div class="who">
      <span class="name" title={user.value ?? ""}>
        {user}
      </span>
      <button type="button" class="button plain small" aria-busy={busy} onClick={leave}>
        Sign out
      </button>
    </div>
  );
}
