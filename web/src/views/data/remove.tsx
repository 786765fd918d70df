/** Deleting a dataset: its rows go with it, so its name has to be typed. */
import { useState } from "preact/hooks";
import { useDoing } from "../../act";
import { api } from "../../api";
import { go } from "../../router";
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
  const { busy, error, act } = useDoing();
  async function remove(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const gone = () => api.delete("/v1/datasets/{name}", { path: { name } });
    if (await act("delete", gone, `${name} is deleted.`)) go("/datasets");
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
          <Button kind="danger" submit busy={busy !== null} disabled={typed !== name}>
            Delete the dataset
          </Button>
          <Button onClick={onClose}>Keep it</Button>
        </div>
      </form>
    </Dialog>
  );
}
