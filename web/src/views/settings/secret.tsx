/** What the service tells once: whoever closes this has it, or has to make another. */
import { Button } from "../../ui/button";

export function Secret({ words, secret, onClose }: { words: string; secret: string; onClose: () => void }) {
  return (
    <>
      <p>{words}</p>
      <code class="secret">{secret}</code>
      <div class="buttons">
        <Button kind="primary" onClick={onClose}>
          I have kept it
        </Button>
      </div>
    </>
  );
}
