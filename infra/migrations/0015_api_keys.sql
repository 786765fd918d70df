-- API keys are in a table of DynamoDB now, so that a request by key needs no connection here.
-- No release had keys here: those of a working copy have to be made anew.
DROP TABLE rowmill.api_key;
