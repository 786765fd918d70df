/** One upload: what is under way above, and what it came to below, once it is over. */
import { useEffect, useRef, useState } from "preact/hooks";
import { bytes, count, legible } from "../../format";
import { Offline } from "../../http";
import { ENDS } from "../../journey";
import { usePoll } from "../../live";
import type { Params } from "../../main";
import { href } from "../../router";
import { announce } from "../../ui/announce";
import { Moment } from "../../ui/moment";
import { Failure, Notice } from "../../ui/notice";
import { STATES, State } from "../../ui/state";
import { Result } from "../result/result";
import { Chunks } from "./chunks";
import { Events } from "./events";
import { Figures } from "./figures";
import { Review } from "./review";
import { type Upload, Verbs } from "./verbs";
import "./watch.css";

export default function Watch({ params }: Params) {
  const { value, error, refresh } = usePoll("/v1/uploads/{upload_id}", { path: { upload_id: params.id! } });
  useToldChanges(value);
  const lost = useLost(error instanceof Offline);
  if (!value) {
    if (error && !(error instanceof Offline) && error.status === 404) return <Gone />;
    return error ? <Failure error={error} title="The upload cannot be shown." /> : <p class="quiet">One moment…</p>;
  }
  const over = ENDS.includes(value.state);
  return (
    <section class="view upload">
      <Heading upload={value} />
      <div class="title">
        <State of={value.state} />
        <Verbs upload={value} refresh={refresh} />
      </div>
      {lost !== null && (
        <p class="stale">
          As it was at <time>{new Date(lost).toLocaleTimeString("en")}</time>, when the connection was lost.
        </p>
      )}
      {!(error instanceof Offline) && <Failure error={error} title="The upload cannot be followed." />}
      {value.error && (
        <Notice kind={value.state === "canceled" ? "info" : "error"} title={STATES[value.state][0]}>
          <p>{value.error.detail}</p>
          {value.state === "quarantined" && <p>Nothing of the file was loaded, and it cannot be tried again.</p>}
          <Details of={value.error} />
        </Notice>
      )}
      {value.state === "needs_review" && <Review upload={value} refresh={refresh} />}
      {over ? <Result upload={value} refresh={refresh} /> : <Figures upload={value} stale={lost !== null} />}
      <Chunks upload={value} over={over} />
      <Events upload={value} />
    </section>
  );
}

/** What a scanner has said of the file; what it found is told where the upload's end is. */
const SCANNED: Record<NonNullable<Upload["malware"]>["verdict"], string> = {
  awaited: " · being looked at for malware",
  unscanned: " · not scanned for malware",
  clean: " · scanned, no malware found",
  infected: "",
};

function Heading({ upload }: { upload: Upload }) {
  return (
    <header class="of">
      <a href="#/" class="quiet">
        Uploads
      </a>
      <h1 title={legible(upload.filename)}>{legible(upload.filename) || upload.id}</h1>
      <p class="quiet">
        into <a href={href(`/datasets/${encodeURIComponent(upload.dataset)}`)}>{upload.dataset}</a> · {upload.mode} ·{" "}
        {bytes(upload.bytes_total)} · <Moment at={upload.created_at} />
        {SCANNED[upload.malware?.verdict ?? "infected"]}
        {upload.parent_id && (
          <>
            {" "}
            · corrects <a href={href(`/uploads/${upload.parent_id}`)}>an earlier upload</a>
          </>
        )}
      </p>
    </header>
  );
}

const MOST = 5; // of what is told one by one

/** What the error says further, such as which records were given up, and why. */
function Details({ of }: { of: NonNullable<Upload["error"]> }) {
  const told = ((of.errors ?? []) as { detail: string }[]).map((one) => one.detail);
  if (!told.length) return null;
  return (
    <ul>
      {told.slice(0, MOST).map((one) => (
        <li key={one}>{one}</li>
      ))}
      {told.length > MOST && <li>And {count(told.length - MOST)} more</li>}
    </ul>
  );
}

function Gone() {
  return (
    <Notice title="There is no such upload" actions={<a href="#/">To your uploads</a>}>
      <p>It was deleted, or was kept long enough, or is somebody else's.</p>
    </Notice>
  );
}

/** Say a state that is entered while one looks, and no more: counts would be chatter. */
function useToldChanges(upload: Upload | null): void {
  const before = useRef<string | null>(null);
  useEffect(() => {
    if (!upload) return;
    if (before.current && before.current !== upload.state)
      announce(`${legible(upload.filename)}: ${STATES[upload.state]?.[0] ?? upload.state}`);
    before.current = upload.state;
  }, [upload?.state]);
}

/** Since when nobody answers, or null: they do. */
function useLost(lost: boolean): number | null {
  const [since, setSince] = useState<number | null>(null);
  useEffect(() => setSince(lost ? Date.now() : null), [lost]);
  return since;
}
