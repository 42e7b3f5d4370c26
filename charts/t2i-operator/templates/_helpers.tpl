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

{{/* Reference of an image: (dict "root" $ "image" .Values.image). A digest wins over a tag. */}}
{{- define "t2i-operator.image" -}}
{{- $repository := .image.repository -}}
{{- with (.root.Values.global).imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "") -}}
{{- end -}}
{{- if and .image.digest .image.tag -}}
{{- printf "%s:%s@%s" $repository .image.tag .image.digest -}}
{{- else if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "t2i-operator.pullSecrets" -}}
{{- with concat (.Values.imagePullSecrets | default list) ((.Values.global).imagePullSecrets | default list) | uniq -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* Pod and container of the operator and of helm test: what Pod Security calls restricted, and a read-only root. */}}
{{- define "t2i-operator.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "t2i-operator.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* "yes" where ServiceMonitor and PodMonitor are to be rendered. */}}
{{- define "t2i-operator.monitors" -}}
{{- if or (eq .Values.metrics.monitors "Always") (and (eq .Values.metrics.monitors "Auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PodMonitor")) -}}
yes
{{- end -}}
{{- end -}}

{{/* "yes" where PrometheusRule is to be rendered. */}}
{{- define "t2i-operator.rendersAlerts" -}}
{{- if or (eq .Values.alerts.render "Always") (and (eq .Values.alerts.render "Auto") (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PrometheusRule")) -}}
yes
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
