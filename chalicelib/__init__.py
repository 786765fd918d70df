"""Rowmill: a file in S3 becomes typed rows in Postgres, each exactly once.

The journey, and the file that is each step:

1. admit    writes the upload's status item, then hands out a presigned form, or a ticket for parts;
   assemble signs parts and puts them together
2. split    S3 says the object is there: detect the dialect, plan once, cut into chunks, fan them out
3. load     one chunk, one transaction: rows, rejects, counts and the proof that they are there
4. settle   when every chunk is in: replay rows that contested a key, then one terminal state
   undo     takes an upload that is over out of the table again
5. report   the status projection, chunks, events
   rejects  the rows that were not loaded, as pages or a file; triage tells the few causes behind them
6. mend     bury chunks out of attempts; sweep up whatever a crash left half-said
7. notify   tell webhooks, e-mail and a topic of the end
8. attest   seal what the upload came to in a receipt; compare file and table with it later
   receipts answers with both

control is what a client may ask of an upload meanwhile: cancel, pause, resume, confirm, redrive, revert, delete.
accounts, apikeys and callers hold logins and who asks, catalog datasets and their rows, sharing who else uses them;
edge is where HTTP and SQS end.
"""
