// Copyright The Passthrough Connector Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// RolloutMode says whether pods are replaced.
//
// +kubebuilder:validation:Enum=Active;Paused
type RolloutMode string

// The modes of a rollout.
const (
	// RolloutActive replaces pods that do not run the current specification.
	RolloutActive RolloutMode = "Active"
	// RolloutPaused replaces no pod.
	RolloutPaused RolloutMode = "Paused"
)

// RolloutFailurePolicy says what becomes of a rollout that fails.
//
// +kubebuilder:validation:Enum=Halt;Rollback
type RolloutFailurePolicy string

// What becomes of a rollout that fails.
const (
	// RolloutHalt leaves every connector as it is.
	RolloutHalt RolloutFailurePolicy = "Halt"
	// RolloutRollback returns to the last revision that all connectors ran.
	RolloutRollback RolloutFailurePolicy = "Rollback"
)

// RolloutSpec is how a change reaches the connectors that run. They are replaced
// one after the other. The first is the canary: no other is touched before it has
// become ready and stayed so. Connectors that do not serve anyway come first, so
// that a correction repairs what is broken.
//
// +kubebuilder:validation:XValidation:rule="self.progressDeadlineSeconds > self.minReadySeconds",message="progressDeadlineSeconds must be greater than minReadySeconds, or no rollout could succeed",fieldPath=".progressDeadlineSeconds",reason=FieldValueInvalid
type RolloutSpec struct {
	// maxUnavailable is how many connectors may be unavailable while others are
	// replaced. Connectors that are unavailable for another reason count.
	//
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=40
	MaxUnavailable *int32 `json:"maxUnavailable,omitempty"`

	// minReadySeconds is how long a connector must be ready before it counts as
	// available and the next is replaced.
	//
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=600
	MinReadySeconds *int32 `json:"minReadySeconds,omitempty"`

	// progressDeadlineSeconds is how long a replaced connector may take to become
	// available. After that the rollout has failed. Windows images are large: allow
	// for the time to pull one.
	//
	// +optional
	// +kubebuilder:default=900
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	ProgressDeadlineSeconds *int32 `json:"progressDeadlineSeconds,omitempty"`

	// mode says whether pods are replaced. While it is Paused, connectors keep the
	// revision they run. Setting it to Paused and then back to Active also resumes a
	// rollout that has halted.
	//
	// +optional
	// +kubebuilder:default=Active
	Mode RolloutMode `json:"mode,omitempty"`

	// onFailure says what becomes of a rollout whose deadline has passed: Halt
	// leaves every connector as it is; Rollback returns to the last revision that
	// all connectors ran. Either lasts until the specification changes.
	//
	// +optional
	// +kubebuilder:default=Halt
	OnFailure RolloutFailurePolicy `json:"onFailure,omitempty"`

	// maintenanceWindow is when the operator may replace pods because of a release
	// of its own. Without it, that is at any time. Changes of the specification do
	// not wait for it, and an update that has begun is finished.
	//
	// +optional
	MaintenanceWindow *MaintenanceWindow `json:"maintenanceWindow,omitempty"`
}

// Weekday is a day of the week.
//
// +kubebuilder:validation:Enum=Monday;Tuesday;Wednesday;Thursday;Friday;Saturday;Sunday
type Weekday string

// MaintenanceWindow is a time that comes every week, on one day or several.
type MaintenanceWindow struct {
	// days are the days on which the window opens. Without them it opens every day.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=7
	Days []Weekday `json:"days,omitempty"`

	// start is when the window opens, on the clock of timeZone, such as 02:30. If
	// the clock jumps over that time, the window opens when it has jumped; if the
	// time comes twice, the window opens the first time.
	//
	// +required
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=5
	// +kubebuilder:validation:XValidation:rule="self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')",message="start must be a time of day from 00:00 to 23:59, such as 02:30",reason=FieldValueInvalid
	Start string `json:"start,omitempty"`

	// durationMinutes is how long the window stays open.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1440
	DurationMinutes *int32 `json:"durationMinutes,omitempty"`

	// timeZone is the name of a time zone of the IANA database, such as
	// Europe/Amsterdam. The operator has the database built in.
	//
	// +optional
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$') && self != 'Local'",message="timeZone must be the name of an IANA time zone, such as UTC or Europe/Amsterdam",reason=FieldValueInvalid
	TimeZone string `json:"timeZone,omitempty"`
}
