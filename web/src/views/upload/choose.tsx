/** Where files come from: dropped anywhere on the view, or picked by a control that the keyboard reaches, too. */
import { useId } from "preact/hooks";
import { type Picked, useDrop } from "../../dropped";

interface Props {
  onChoose: (picked: Picked[]) => void;
  small?: boolean;
}

export function Choose({ onChoose, small }: Props) {
  const id = useId();
  const over = useDrop(onChoose);
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
