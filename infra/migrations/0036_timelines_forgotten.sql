-- Uploads that no splitter met and that are still remembered: '-infinity' once their timeline has gone.
CREATE INDEX announcement_remembered ON rowmill.announcement (forget_at) WHERE forget_at > '-infinity';
