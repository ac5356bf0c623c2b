-- Numbers that accounts ask for are read off indexes alone, and only their own.
CREATE INDEX usage_of_own ON usage (account_id, at) INCLUDE (pictures, seconds);
DROP INDEX usage_of_account;
CREATE INDEX usage_of_all ON usage (at) INCLUDE (pictures, seconds);
CREATE INDEX entries_of_turnover ON entries (account_id, book, at) INCLUDE (amount, transfer) WHERE book IN ('sales', 'paid in');
CREATE INDEX entries_moved ON entries (account_id, id) INCLUDE (amount)
    WHERE (book = 'wallet' AND split_part(transfer, ':', 1) NOT IN ('hold', 'release')) OR (book = 'held' AND split_part(transfer, ':', 1) = 'capture');
CREATE INDEX assets_made ON assets (account_id, request_id) WHERE kind = 'output' AND state = 'live';
