/** The rows of a dataset: pages by key, sorted and filtered by what is indexed; each row can be opened. */
import { useState } from "preact/hooks";
import { counted } from "../../format";
import { usePages, usePoll } from "../../live";
import type { Params } from "../../main";
import { go, href, route } from "../../router";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Failure } from "../../ui/notice";
import { type Column, Table } from "../../ui/table";
import { Filter, type Operator } from "./filter";
import { Remove } from "./remove";
import { RowForm } from "./row";
import { type Dataset, fieldsOf, identityOf, indexed, keyOf, type Row, shown } from "./schema";

export default function Rows({ params }: Params) {
  const name = params.name!;
  const { value, error } = usePoll("/v1/datasets/{name}", { path: { name } });
  if (error && !value) return <Failure error={error} title="This dataset cannot be shown." />;
  return value ? <Browse dataset={value} name={name} /> : null;
}

function Browse({ dataset, name }: { dataset: Dataset; name: string }) {
  const { query } = route.value;
  const [sort, field, is, text] = ["sort", "field", "is", "value"].map((one) => query.get(one) ?? "");
  const [opened, setOpened] = useState<Row | "new" | null>(null);
  const [removing, setRemoving] = useState(false);
  const further = field ? { [`${field}.${is || "eq"}`]: text ?? "" } : undefined;
  const asked = { path: { name }, query: { limit: 200, ...(sort && { sort }), ...(further && { further }) } };
  const { items, done, loading, error, more, reload } = usePages("/v1/datasets/{name}/rows", asked);
  const state = { sort, field, is, value: text };
  const ask = (change: Partial<typeof state>) => go(route.value.path, { ...state, ...change }, true);
  const writes = dataset.role !== "reader";
  const close = (changed: boolean) => {
    setOpened(null);
    if (changed) reload();
  };
  return (
    <section class="view">
      <div class="title">
        <h1>{dataset.name}</h1>
        <div class="buttons">
          {writes && <Button onClick={() => setOpened("new")}>Add a row</Button>}
          {writes && (
            <Button kind="primary" href={href("/upload", { dataset: name })}>
              Upload into it
            </Button>
          )}
          {dataset.role === "owner" && (
            <Button kind="danger" onClick={() => setRemoving(true)}>
              Delete…
            </Button>
          )}
        </div>
      </div>
      <Filter
        fields={[...indexed(dataset)]}
        field={field ?? ""}
        is={(is || "eq") as Operator}
        value={text ?? ""}
        onFilter={(chosen) => ask({ ...chosen, sort: chosen.is === "eq" || !chosen.field ? sort : "" })}
      />
      <Failure error={error} title="The rows could not be read." />
      <Table
        label={`Rows of ${dataset.name}`}
        rows={items}
        columns={columnsOf(dataset, sort ?? "", (next) => ask({ sort: next }))}
        id={(one, place) => keyOf(dataset, one) ?? place}
        onEnd={more}
        onOpen={(one) => keyOf(dataset, one) !== null && setOpened(one)}
        empty={loading || error ? null : <h2>{field ? "No such row" : "No rows yet"}</h2>}
      />
      {items.length > 0 && (
        <p class="quiet count">
          {counted(items.length, "row")}
          {done ? "" : " so far: scroll for further ones"}
        </p>
      )}
      <Dialog open={opened !== null} title={opened === "new" ? "Add a row" : "Row"} onClose={() => setOpened(null)}>
        {opened !== null && (
          <RowForm dataset={dataset} name={name} row={opened === "new" ? null : opened} onDone={close} />
        )}
      </Dialog>
      <Remove open={removing} name={name} onClose={() => setRemoving(false)} />
    </section>
  );
}

function columnsOf(dataset: Dataset, sort: string, onSort: (sort: string) => void): Column<Row>[] {
  const can = indexed(dataset);
  const identity = identityOf(dataset);
  const fields = fieldsOf(dataset).map(({ name, type }) => ({
    name,
    end: ["integer", "number", "year"].includes(type),
  }));
  return [...(identity ? [{ name: identity, end: true }] : []), ...fields].map(({ name, end }) => {
    const column: Column<Row> = {
      key: name,
      title: name,
      width: name === identity ? 4 : 9,
      grow: end ? 0 : 1,
      end,
      cell: (row) => <Cell text={shown(row[name])} />,
    };
    if (!can.has(name)) return column;
    const turned = sort === name ? "ascending" : sort === `-${name}` ? "descending" : "none";
    const next = turned === "none" ? name : turned === "ascending" ? `-${name}` : "";
    return { ...column, sorted: turned, onSort: () => onSort(next) };
  });
}

function Cell({ text }: { text: string }) {
  return text === "" ? <span class="quiet">–</span> : <span title={text}>{text}</span>;
}
