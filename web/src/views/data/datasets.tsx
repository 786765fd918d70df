/** The datasets there are, one's own and those that others share, and the templates for further ones. */
import { useDoing } from "../../act";
import { api } from "../../api";
import { usePages, usePoll } from "../../live";
import { go, href } from "../../router";
import { Button } from "../../ui/button";
import { Moment } from "../../ui/moment";
import { Failure } from "../../ui/notice";
import { type Column, Table } from "../../ui/table";
import type { Dataset } from "./schema";

const COLUMNS: Column<Dataset>[] = [
  {
    key: "name",
    title: "Dataset",
    width: 10,
    grow: 3,
    cell: (one) => (
      <a class="main" href={address(one)} title={one.name}>
        {one.name}
      </a>
    ),
  },
  { key: "fields", title: "Fields", width: 5, end: true, cell: (one) => one.schema.fields.length },
  { key: "mode", title: "Rows there already", width: 11, wide: true, cell: (one) => MODES[one.mode] },
  { key: "role", title: "Yours to", width: 8, wide: true, cell: (one) => ROLES[one.role] },
  {
    key: "made",
    title: "Made",
    width: 8,
    wide: true,
    end: true,
    cell: (one) => <Moment at={one.created_at} />,
  },
];
const MODES = { insert: "are rejected", skip: "stay", upsert: "are replaced" };
const ROLES = { reader: "read", writer: "read and fill", owner: "change" };

/** Others' datasets are called by their ids: two people may have given one name. */
function address(one: Dataset): string {
  return href(`/datasets/${encodeURIComponent(one.role === "owner" ? one.name : one.id)}`);
}

export default function Datasets() {
  const own = usePages("/v1/datasets", { query: { limit: 500 } });
  const shared = usePages("/v1/datasets", { query: { limit: 500, shared: "true" } });
  const open = (one: Dataset) => {
    location.hash = address(one);
  };
  return (
    <section class="view">
      <h1>Datasets</h1>
      <Failure error={own.error} title="The datasets could not be listed." />
      <Table
        label="Datasets"
        rows={own.items}
        columns={COLUMNS}
        id={(one) => one.id}
        onEnd={own.more}
        onOpen={open}
        empty={
          own.loading || own.error ? null : (
            <>
              <h2>No datasets yet</h2>
              <p class="quiet">
                A dataset is a typed table. It is made from the first file that goes into it, or below.
              </p>
            </>
          )
        }
      />
      {shared.items.length > 0 && (
        <>
          <h2>Shared with you</h2>
          <Table
            label="Shared with you"
            rows={shared.items}
            columns={COLUMNS}
            id={(one) => one.id}
            onEnd={shared.more}
            onOpen={open}
          />
        </>
      )}
      {own.done && <Templates taken={own.items.map((one) => one.name)} />}
    </section>
  );
}

/** Those of which there is no dataset; before all datasets are known one could be put over one that is there. */
function Templates({ taken }: { taken: string[] }) {
  const { value } = usePoll("/v1/templates", {});
  const { busy, error, act } = useDoing();
  async function make(name: string): Promise<void> {
    const put = async () => {
      const definition = await api.get("/v1/templates/{template}", { path: { template: name } });
      await api.put("/v1/datasets/{name}", { path: { name }, body: definition });
    };
    if (await act(name, put, `The dataset ${name} is there.`)) go(`/datasets/${name}`);
  }
  if (!value) return null;
  const left = value.items.filter((one) => !taken.includes(one.name));
  if (!left.length) return null;
  return (
    <>
      <h2>Begin with a template</h2>
      <Failure error={error} />
      <div class="pairs">
        {left.map((one) => (
          <div class="card" key={one.name}>
            <h3>{one.title}</h3>
            <p class="quiet">{one.description}</p>
            <div class="buttons">
              <Button busy={busy === one.name} onClick={() => make(one.name)} label={`Make the dataset ${one.name}`}>
                Make the dataset
              </Button>
            </div>
          </div>
        ))}
      </div>
    </>
  );
}
