// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package servicetags reads the file of Azure's IP ranges and service tags, which
// Microsoft publishes each week, and makes of the tags that somebody names the
// smallest list of IPv4 blocks that holds the same addresses.
//
// The file is a site's own copy and may be anything: what is read of it is
// bounded, and what is not understood is refused. A list that is wider than the
// tags, or empty, is never made.
package servicetags
