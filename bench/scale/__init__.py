"""One file, and one ten times as long: does it take ten times as long, in the same memory?

The one thing to know: a database with an index in random order slows down as the index outgrows its memory, whoever
loads. So each size goes into three tables: psql's and ours with a unique key, and ours without one; what psql's time
grows by is the database's own, and the last table shows what all the rest of the way grows by.
"""
