/** The page: which address shows what, each view fetched when it is first shown, and the frame around them. */
import { type ComponentType, render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Frame } from "./frame";
import { match, route } from "./router";
import { user } from "./session";
import { Notice } from "./ui/notice";
import { Sign } from "./views/sign";

export interface Params {
  /** What stands in the address for `:names`. */
  params: Record<string, string>;
}
type View = ComponentType<Params>;
type Entry = [pattern: string, title: string, load: () => Promise<{ default: View }>];

const VIEWS: Entry[] = [
  ["/", "Uploads", () => import("./views/home/home")],
  ["/upload", "Upload", () => import("./views/upload/upload")],
  ["/datasets", "Datasets", () => import("./views/data/datasets")],
  ["/datasets/:name", "Rows", () => import("./views/data/rows")],
  ["/settings", "Settings", () => import("./views/settings/settings")],
  ["/uploads/:id", "Upload", () => import("./views/watch/watch")],
];

const fetched = new Map<string, View>();

function Page() {
  const { path } = route.value;
  for (const [pattern, title, load] of VIEWS) {
    const params = match(pattern, path);
    if (params) return <Shown key={pattern} pattern={pattern} title={title} load={load} params={params} />;
  }
  return <Notice title="There is nothing here" actions={<a href="#/">To your uploads</a>} />;
}

interface Shows extends Params {
  pattern: string;
  title: string;
  load: Entry[2];
}

function Shown({ pattern, title, load, params }: Shows) {
  const [View, setView] = useState(() => fetched.get(pattern));
  const [lost, setLost] = useState(false);
  useEffect(() => {
    document.title = `${title} · Rowmill`;
    if (View) return;
    return untilThere(
      async () => {
        const found = await load();
        fetched.set(pattern, found.default);
        setView(() => found.default);
        setLost(false);
      },
      () => setLost(true), // no connection, which comes back, or another version was deployed since
    );
  }, []);
  if (lost) {
    const again = (
      <button type="button" class="button plain" onClick={() => location.reload()}>
        Load the page again
      </button>
    );
    return <Notice kind="error" title="This part of the page could not be loaded." actions={again} />;
  }
  // Its own key: what is shown of one upload must not stay for the next.
  return View ? <View key={Object.values(params).join("/")} params={params} /> : null;
}

/** Try until it is done, at growing distances, and at once when the network is back; the answer gives it up. */
function untilThere(act: () => Promise<void>, failed: () => void): () => void {
  const stop = new AbortController();
  let timer = 0;
  let tries = 0;
  async function turn(): Promise<void> {
    clearTimeout(timer);
    try {
      await act();
      stop.abort();
    } catch {
      if (stop.signal.aborted) return;
      failed();
      timer = setTimeout(turn, Math.min(2 ** tries++, 15) * 1000);
    }
  }
  addEventListener("online", turn, stop);
  turn();
  return () => {
    stop.abort();
    clearTimeout(timer);
  };
}

function App() {
  return user.value === null ? <Sign /> : <Frame>{<Page />}</Frame>;
}

render(<App />, document.getElementById("page")!);
