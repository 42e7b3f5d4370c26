{{- define "t2i-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "t2i-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "t2i-operator.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "t2i-operator.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "t2i-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "t2i-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "t2i-operator.labels" -}}
{{ include "t2i-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "t2i-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "t2i-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What the operator may do with jobs and their children, in each namespace that it looks after. */}}
{{- define "t2i-operator.rules" -}}
- apiGroups: [training.t2i.dev]
  resources: [diffusiontrainingjobs]
  verbs: [get, list, watch, delete]
- apiGroups: [training.t2i.dev]
  resources: [diffusiontrainingjobs/status]
  verbs: [get, update, patch]
# Owner references that block deletion need it where OwnerReferencesPermissionEnforcement is on (OpenShift).
- apiGroups: [training.t2i.dev]
  resources: [diffusiontrainingjobs/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
