/** Where the page is: what follows `#` in its address, so that it needs nothing of whoever serves it. */
import { signal } from "@preact/signals";

interface Route {
  path: string;
  query: URLSearchParams;
}

function here(): Route {
  const [path, query] = location.hash.slice(1).split("?", 2);
  return { path: path || "/", query: new URLSearchParams(query) };
}

export const route = signal(here());

addEventListener("hashchange", () => {
  route.value = here();
});

/** The address of a view: `href("/uploads", { state })`; null and empty values are left out. */
export function href(path: string, query: Record<string, string | null | undefined> = {}): string {
  const pairs = Object.entries(query).flatMap(([name, one]) => (one ? [[name, one]] : []));
  const search = new URLSearchParams(pairs).toString();
  return `#${path}${search ? `?${search}` : ""}`;
}

/** Go there; `replace` leaves no way back to where we are, as for a filter that changes. */
export function go(path: string, query: Record<string, string | null | undefined> = {}, replace = false): void {
  if (replace) {
    history.replaceState(null, "", href(path, query));
    route.value = here();
  } else {
    location.hash = href(path, query);
  }
}

/** The values of `:names` in a pattern such as `/uploads/:id`, or null if the path is another. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const names = pattern.split("/");
  const parts = path.split("/");
  if (names.length !== parts.length) return null;
  const found: Record<string, string> = {};
  for (const [place, name] of names.entries()) {
    const part = parts[place]!;
    if (name.startsWith(":")) found[name.slice(1)] = unescaped(part);
    else if (name !== part) return null;
  }
  return found;
}

function unescaped(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
