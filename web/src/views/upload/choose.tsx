/** Where files are picked by a control that the keyboard reaches, too; dropped they may be anywhere on the view. */
import { useId } from "preact/hooks";
import type { Picked } from "../../dropped";

interface Props {
  onChoose: (picked: Picked[]) => void;
  /** Whether files are held over the view. */
  over: boolean;
  small?: boolean;
}

export function Choose({ onChoose, over, small }: Props) {
  const id = useId();
  return (
    <fieldset aria-label="Files to send" class={`choose${over ? " over" : ""}${small ? " small" : ""}`}>
      <input
        id={id}
        type="file"
        multiple
        class="unseen"
        onChange={(event) => {
          const { files } = event.currentTarget;
          onChoose([...(files ?? [])].map((file) => ({ file })));
          event.currentTarget.value = ""; // the same file may be chosen again
        }}
      />
      <label for={id} class={small ? "button plain" : "button primary"}>
        {small ? "Add files" : "Choose files"}
      </label>
      <p class="quiet">{small ? "or drop them here" : "or drop them here: CSV, TSV, Excel, also gzipped"}</p>
    </fieldset>
  );
}
