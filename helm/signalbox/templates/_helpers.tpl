{{- /* SPDX-License-Identifier: MIT */ -}}

{{- /* Of 40 characters at most: Kubernetes makes labels of names, with more behind them. */ -}}
{{- define "signalbox.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "signalbox.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "signalbox.redisSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: redis
{{- end -}}

{{- define "signalbox.testSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end -}}

{{- define "signalbox.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "signalbox.labels" -}}
{{ include "signalbox.selector" . }}
{{ include "signalbox.chartLabels" . }}
{{- end -}}

{{- define "signalbox.redisLabels" -}}
{{ include "signalbox.redisSelector" . }}
{{ include "signalbox.chartLabels" . }}
{{- end -}}

{{- define "signalbox.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "signalbox.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "signalbox.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "signalbox.secretName" -}}
{{ .Values.existingSecret | default (include "signalbox.name" .) }}
{{- end -}}

{{- define "signalbox.redisSecretName" -}}
{{ .Values.redis.existingSecret | default (printf "%s-redis" (include "signalbox.name" .)) }}
{{- end -}}

{{- /* The password of the bundled Redis: the one given, or the one that is there, or a new one. */ -}}
{{- define "signalbox.redisPassword" -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace (include "signalbox.redisSecretName" .) | default dict -}}
{{- if .Values.redis.password -}}
{{ .Values.redis.password }}
{{- else if hasKey ($there.data | default dict) "password" -}}
{{ $there.data.password | b64dec }}
{{- else -}}
{{ randAlphaNum 32 }}
{{- end -}}
{{- end -}}

{{- /* A value as an environment variable has it: numbers of a values file arrive as floats. */ -}}
{{- define "signalbox.text" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{- /* What the schema cannot say: values that only together are wrong. */ -}}
{{- define "signalbox.validate" -}}
{{- $given := list -}}
{{- range $name, $value := .Values.secrets -}}
{{- if $value -}}{{- $given = append $given $name -}}{{- end -}}
{{- end -}}
{{- if .Values.existingSecret -}}
  {{- if or $given .Values.externalRedis.url -}}
    {{- fail "existingSecret holds all keys: with it, secrets.* and externalRedis.url must be empty" -}}
  {{- end -}}
{{- else -}}
  {{- if not (or .Values.redis.enabled .Values.externalRedis.url) -}}
    {{- fail "there is no Redis: set externalRedis.url, or existingSecret with the key REDIS_URL, or redis.enabled=true" -}}
  {{- end -}}
  {{- if and (eq .Values.config.SERVER_REGISTRATION "secret") (not (has "SERVER_REGISTRATION_SECRET" $given)) -}}
    {{- fail "config.SERVER_REGISTRATION=secret needs secrets.SERVER_REGISTRATION_SECRET" -}}
  {{- end -}}
  {{- if and (ne .Values.config.REQUIRE_ATTESTATION "off") (not (has "ATTESTATION_SIGNING_KEY" $given)) -}}
    {{- fail "config.REQUIRE_ATTESTATION needs secrets.ATTESTATION_SIGNING_KEY" -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.redis.enabled .Values.externalRedis.url -}}
  {{- fail "there are two: with externalRedis.url, set redis.enabled=false" -}}
{{- end -}}
{{- if and .Values.externalRedis.url .Values.networkPolicy.enabled -}}
  {{- $port := regexFind "[0-9]+" (regexFind ":[0-9]+(/[0-9]*)?$" .Values.externalRedis.url | default ":6379") | int -}}
  {{- if ne $port (int .Values.networkPolicy.redisPort) -}}
    {{- printf "networkPolicy.redisPort=%d keeps workers from externalRedis.url: set it to %d" (int .Values.networkPolicy.redisPort) $port | fail -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.redis.password .Values.redis.existingSecret -}}
  {{- fail "redis.existingSecret holds the password: with it, redis.password must be empty" -}}
{{- end -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
  {{- fail "autoscaling.minReplicas must not be above autoscaling.maxReplicas" -}}
{{- end -}}
{{- end -}}
