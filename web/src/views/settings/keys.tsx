/** Keys that programs use instead of a password. */
import { useState } from "preact/hooks";
import { useDoing } from "../../act";
import { api, type Schema } from "../../api";
import { ago } from "../../format";
import { Problem } from "../../http";
import { usePages } from "../../live";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { Failure } from "../../ui/notice";
import { Secret } from "./secret";

type Role = Schema<"ApiKey">["role"];
const ROLES: Record<Role, string> = {
  reader: "Reader: may only look",
  writer: "Writer: may send files and rows, too",
  owner: "Owner: may do all that you may",
};

export function Keys() {
  const { items, done, error, loading, more, reload } = usePages("/v1/api-keys", { query: { limit: 100 } });
  const [adding, setAdding] = useState(false);
  const doing = useDoing();
  async function remove(id: string): Promise<void> {
    const asked = { path: { key_id: id } };
    if (await doing.act(id, () => api.delete("/v1/api-keys/{key_id}", asked), "The key is gone.")) reload();
  }
  return (
    <section class="card" aria-labelledby="keys">
      <div class="title">
        <h2 id="keys">API keys</h2>
        <Button small onClick={() => setAdding(true)}>
          Make a key
        </Button>
      </div>
      <Failure error={error ?? doing.error} />
      {!items.length && !loading && <p class="quiet">No program has a key.</p>}
      <ul class="list">
        {items.map((one) => (
          <li key={one.id}>
            <div>
              <strong>{one.name}</strong> <code>{one.prefix}…</code>
              <p class="quiet">
                {ROLES[one.role]}; made {ago(one.created_at)}
                {one.expires_at ? `, ends ${ago(one.expires_at)}` : ", never ends"}
              </p>
            </div>
            <Button
              small
              kind="danger"
              label={`Delete ${one.name}`}
              busy={doing.busy === one.id}
              onClick={() => remove(one.id)}
            >
              Delete
            </Button>
          </li>
        ))}
      </ul>
      {items.length > 0 && !done && <Button onClick={more}>Show more</Button>}
      <Dialog open={adding} title="Make a key" onClose={() => setAdding(false)}>
        <Making onMade={reload} onClose={() => setAdding(false)} />
      </Dialog>
    </section>
  );
}

function Making({ onMade, onClose }: { onMade: () => void; onClose: () => void }) {
  const [secret, setSecret] = useState<string | null>(null);
  const { busy, error, act } = useDoing();
  async function make(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const days = String(form.get("days"));
    const body = {
      name: String(form.get("name")),
      role: form.get("role") as Role,
      ...(days && { expires_in_days: Number(days) }), // 0 is refused, and not: never
    };
    await act("make", async () => setSecret((await api.post("/v1/api-keys", { body })).secret), "The key is made.");
    onMade();
  }
  if (secret !== null)
    return <Secret words="The key is shown now and never again." secret={secret} onClose={onClose} />;
  const wrong = error instanceof Problem ? error.fields : {};
  return (
    <form class="dialog-form" onSubmit={make}>
      {error && !Object.keys(wrong).length && <Failure error={error} />}
      <Field label="Name" hint="Of the program that will use it." error={wrong.name}>
        <input name="name" required maxLength={100} />
      </Field>
      <Field label="Role" error={wrong.role}>
        <select name="role">
          {Object.entries(ROLES).map(([role, words]) => (
            <option key={role} value={role}>
              {words}
            </option>
          ))}
        </select>
      </Field>
      <Field label="Days until it ends" hint="Nothing: it never does." error={wrong.expires_in_days}>
        <input name="days" inputMode="numeric" pattern="[0-9]*" />
      </Field>
      <div class="buttons">
        <Button kind="primary" submit busy={busy !== null}>
          Make it
        </Button>
      </div>
    </form>
  );
}
