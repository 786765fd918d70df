/** What was uploaded, the newest first; a file that is dropped here is the next. */
import { handed, useDrop } from "../../dropped";
import { bytes, count, legible } from "../../format";
import { ENDS } from "../../journey";
import { type Item, usePages } from "../../live";
import { go, href, route } from "../../router";
import { Button } from "../../ui/button";
import { Field } from "../../ui/field";
import { Moment } from "../../ui/moment";
import { Failure } from "../../ui/notice";
import { STATES, State, type UploadState } from "../../ui/state";
import { type Column, Table } from "../../ui/table";

type Upload = Item<"/v1/uploads">;

const COLUMNS: Column<Upload>[] = [
  {
    key: "file",
    title: "File",
    width: 11,
    grow: 3,
    cell: (one) => (
      <a class="main" href={href(`/uploads/${one.id}`)} title={legible(one.filename)}>
        {legible(one.filename) || one.id}
      </a>
    ),
  },
  { key: "dataset", title: "Dataset", width: 7, grow: 2, wide: true, cell: (one) => one.dataset },
  { key: "state", title: "State", width: 8, grow: 2, cell: (one) => <State of={one.state} /> },
  {
    key: "rows",
    title: "Rows",
    width: 6,
    end: true,
    wide: true,
    cell: (one) => (one.rows_total === null ? "–" : count(one.rows_total)),
  },
  {
    key: "rejected",
    title: "Rejected",
    width: 6,
    end: true,
    wide: true,
    cell: (one) => (one.rejected ? count(one.rejected) : "–"),
  },
  { key: "size", title: "Size", width: 5, end: true, wide: true, cell: (one) => bytes(one.bytes_total) },
  {
    key: "when",
    title: "Started",
    width: 8,
    wide: true,
    end: true,
    cell: (one) => <Moment at={one.created_at} />,
  },
];

const FOLLOWED = { key: (one: Upload) => one.id, every: 5, moves: (one: Upload) => !ENDS.includes(one.state) };

export default function Home() {
  const { query } = route.value;
  const state = (query.get("state") ?? "") as UploadState | "";
  const dataset = query.get("dataset") ?? "";
  const asked = { query: { limit: 200, ...(state && { state }), ...(dataset && { dataset }) } };
  const { items, done, loading, error, more } = usePages("/v1/uploads", asked, FOLLOWED);
  const filter = (change: { state?: string; dataset?: string }) => go("/", { state, dataset, ...change }, true);
  const over = useDrop((picked) => {
    handed.value = picked;
    go("/upload");
  });
  return (
    <section class="view">
      {over && <p class="drop">Let go to upload</p>}
      <div class="title">
        <h1>Uploads</h1>
        <div class="filters">
          <Field label="State" quiet>
            <select value={state} onChange={(event) => filter({ state: event.currentTarget.value })}>
              <option value="">Every state</option>
              {Object.entries(STATES).map(([name, [words]]) => (
                <option key={name} value={name}>
                  {words}
                </option>
              ))}
            </select>
          </Field>
          <Datasets
            value={dataset}
            seen={items.map((one) => one.dataset)}
            onChange={(name) => filter({ dataset: name })}
          />
        </div>
      </div>
      <Failure error={error} title="The uploads could not be listed." />
      <Table
        label="Uploads"
        rows={items}
        columns={COLUMNS}
        id={(one) => one.id}
        rowHeight={52}
        onEnd={more}
        onOpen={(one) => go(`/uploads/${one.id}`)}
        empty={loading || error ? null : <Nothing filtered={Boolean(state || dataset)} />}
      />
      {items.length > 0 && (
        <p class="quiet count">
          {count(items.length)}
          {done ? "" : "+"} shown
        </p>
      )}
    </section>
  );
}

interface Choosing {
  value: string;
  /** Names that are on the page already: some may be newer than the list. */
  seen: string[];
  onChange: (name: string) => void;
}

function Datasets({ value, seen, onChange }: Choosing) {
  const { items } = usePages("/v1/datasets", { query: { limit: 1000 } });
  const names = [...new Set([...items.map((one) => one.name), ...seen, value])].filter(Boolean).sort();
  return (
    <Field label="Dataset" quiet>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">Every dataset</option>
        {names.map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
    </Field>
  );
}

function Nothing({ filtered }: { filtered: boolean }) {
  if (filtered) {
    return (
      <>
        <h2>No such upload</h2>
        <Button onClick={() => go("/", {}, true)}>Show all of them</Button>
      </>
    );
  }
  return (
    <>
      <h2>No uploads yet</h2>
      <p class="quiet">
        They are listed here, the newest first. Drop a file anywhere on this page, or <a href="#/upload">choose one</a>.
      </p>
    </>
  );
}
