/** A window above the page: the browser's own, which keeps the keyboard inside and gives it back at the end. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

interface Props {
  open: boolean;
  title: string;
  onClose: () => void;
  wide?: boolean;
  children: ComponentChildren;
}

export function Dialog({ open, title, onClose, wide, children }: Props) {
  const here = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    if (open) here.current?.showModal();
    else here.current?.close();
  }, [open]);
  return (
    <dialog
      ref={here}
      class={wide ? "wide" : undefined}
      aria-labelledby={id}
      onClose={() => open && onClose()}
      onPointerDown={(event) => event.target === here.current && onClose()}
    >
      {open && (
        <div class="dialog">
          <header>
            <h2 id={id}>{title}</h2>
            <button type="button" class="close" aria-label="Close" onClick={onClose}>
              ×
            </button>
          </header>
          {children}
        </div>
      )}
    </dialog>
  );
}
