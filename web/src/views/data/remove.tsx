/** Deleting a dataset: its rows go with it, so its name has to be typed. */
import { useState } from "preact/hooks";
import { api } from "../../api";
import { Offline, Problem } from "../../http";
import { go } from "../../router";
import { announce } from "../../ui/announce";
import { Button } from "../../ui/button";
import { Dialog } from "../../ui/dialog";
import { Field } from "../../ui/field";
import { Failure } from "../../ui/notice";

interface Props {
  open: boolean;
  name: string;
  onClose: () => void;
}

export function Remove({ open, name, onClose }: Props) {
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<Problem | Offline | null>(null);
  async function remove(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      await api.delete("/v1/datasets/{name}", { path: { name } });
      announce(`${name} is deleted.`);
      go("/datasets");
    } catch (failure) {
      if (!(failure instanceof Problem || failure instanceof Offline)) throw failure;
      setError(failure);
      setBusy(false);
    }
  }
  return (
    <Dialog open={open} title={`Delete ${name}`} onClose={onClose}>
      <p>All of its rows go, and nothing brings them back.</p>
      <Failure error={error} />
      <form class="dialog-form" onSubmit={remove}>
        <Field label={`Type ${name} to be sure`}>
          <input value={typed} autoComplete="off" onInput={(event) => setTyped(event.currentTarget.value)} />
        </Field>
        <div class="buttons">
          <Button kind="danger" submit busy={busy} disabled={typed !== name}>
            Delete the dataset
          </Button>
          <Button onClick={onClose}>Keep it</Button>
        </div>
      </form>
    </Dialog>
  );
}
